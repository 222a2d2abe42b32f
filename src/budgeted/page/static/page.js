// Keeps what is looked at as it is now, and writes times in the reader's zone. Everything works without it.
(() => {
  "use strict";
  const near = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
  const far = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  const withZone = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

  function writeTimes(within) {
    for (const time of within.querySelectorAll("time[datetime]")) {
      const at = new Date(time.dateTime);
      const today = at.toDateString() === new Date().toDateString();
      time.textContent = (today ? near : far).format(at);
      time.title = withZone.format(at);
    }
  }

  // What is being used stays as it is until it is left.
  const isUsed = (part) => part.contains(document.activeElement) && document.activeElement.matches("input, textarea, select");

  function replace(html) {
    const fresh = new DOMParser().parseFromString(html, "text/html");
    writeTimes(fresh);
    for (const part of document.querySelectorAll("main [data-live]")) {
      const other = fresh.getElementById(part.id);
      if (!other || isUsed(part)) continue;
      part.hidden = other.hidden;
      if (other.innerHTML === part.innerHTML) continue;
      const focused = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
      part.replaceChildren(...document.adoptNode(other).childNodes);
      if (focused) [...part.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused)?.focus();
    }
  }

  const note = document.getElementById("connection");
  let stream = null, lost = null, again = null;

  function tell(isLost) {
    lost = isLost ? lost ?? new Date() : null;
    note.hidden = !isLost;
    note.textContent = isLost ? `Not connected since ${near.format(lost)}: the figures are those of then.` : "";
  }

  function listen() {
    clearTimeout(again);
    stream?.close();
    stream = new EventSource("/page/events?at=" + encodeURIComponent(location.pathname + location.search));
    stream.onopen = () => tell(false);
    stream.onmessage = (event) => { tell(false); replace(JSON.parse(event.data)); };
    stream.onerror = () => {
      // A stream that the server has ended in good order is opened again at once, and is no loss.
      if (stream.readyState === EventSource.CLOSED) again = setTimeout(knock, 5000);
      setTimeout(() => { if (stream.readyState !== EventSource.OPEN) tell(true); }, 3000);
    };
  }

  // Where the session has ended, the page leads to where another one begins.
  const knock = () => fetch(location.href, { headers: { accept: "text/html" } }).then((answer) => (answer.redirected ? location.reload() : listen()), listen);

  writeTimes(document);
  if (note && document.querySelector("main [data-live]")) {
    listen();
    // A laptop that slept, a tab that lay behind: what is shown may be hours old.
    addEventListener("online", listen);
    addEventListener("pageshow", (event) => { if (event.persisted) listen(); });
    document.addEventListener("visibilitychange", () => { if (!document.hidden) listen(); });
  }
})();
