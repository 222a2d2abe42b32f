"""What bash is given to complete commands: as click's, and names with a colon in them, such as ``team:search``.

Bash takes a colon for the end of a word. What was one word is put together again before it is looked for, and what
stands before the last colon is taken away from what is found, as bash puts it behind that.
"""

from __future__ import annotations

from typing import ClassVar

from click.shell_completion import BashComplete

_SOURCE = """\
%(complete_func)s() {
    local IFS=$'\\n' words=() word response type value typed
    for word in "${COMP_WORDS[@]:0:COMP_CWORD+1}"; do
        if (( ${#words[@]} > 1 )) && [[ $word == :* || ${words[-1]} == *: && -n $word ]]; then
            words[-1]+=$word
        else
            words+=("$word")
        fi
    done
    typed=${words[-1]}
    COMPREPLY=()
    response=$(env COMP_WORDS="${words[*]}" COMP_CWORD=$(( ${#words[@]} - 1 )) %(complete_var)s=bash_complete "$1")
    for word in $response; do
        IFS=, read -r type value <<< "$word"
        if [[ $type == dir ]]; then
            compopt -o dirnames
        elif [[ $type == file ]]; then
            compopt -o default
        elif [[ $COMP_WORDBREAKS == *:* ]]; then
            COMPREPLY+=("${value#"${typed%%"${typed##*:}"}"}")
        else
            COMPREPLY+=("$value")
        fi
    done
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class ColonsInWords(BashComplete):
    """Completion for bash."""

    source_template: ClassVar[str] = _SOURCE
