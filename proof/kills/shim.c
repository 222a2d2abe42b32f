/* Counts the calls of a process on files below a directory, and at one of them ends the process or answers an error.

   Loaded by LD_PRELOAD. Nothing happens until shim_arm() is called, in a forked child. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum { COUNT, BEFORE, HALF, AFTER, ERROR };
#define MOST_FILES 4096
#define MOST_CALLS 65536

static const char *below = NULL;
static volatile long calls = 0;
static long at = -1;
static int what = COUNT, error = 0;
static char kinds[MOST_CALLS];
static char ours[MOST_FILES];

void shim_arm(const char *directory, long number, int mode, int answer) {
    below = strdup(directory);
    at = number;
    what = mode;
    error = answer;
    calls = 0;
    memset(ours, 0, sizeof ours);
}

long shim_calls(char *to, long room) {
    long n = calls < room ? calls : room;
    memcpy(to, kinds, n);
    return n;
}

static void end(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* Whether this is the call: it is counted, and the process ends here if it is to end before it. */
static int strikes(char kind) {
    long number = __sync_fetch_and_add(&calls, 1);
    if (number < MOST_CALLS) kinds[number] = kind;
    if (number != at || what == COUNT) return 0;
    if (what == BEFORE || (what == HALF && kind != 'w')) end();
    return 1;
}

static int is_path(const char *path) { return below && path && strstr(path, below); }
static int is_file(int fd) { return below && fd >= 0 && fd < MOST_FILES && ours[fd]; }

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define SIMPLE(kind, mine, call)                       \
    do {                                               \
        if (!(mine)) return call;                      \
        int struck = strikes(kind);                    \
        if (struck && what == ERROR) { errno = error; return -1; } \
        __typeof__(call) result = call;                \
        if (struck) end();                             \
        return result;                                 \
    } while (0)

static int opened(const char *name, const char *path, int flags, mode_t mode) {
    int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, name);
    int mine = is_path(path), struck = mine && strikes('o');
    if (struck && what == ERROR) { errno = error; return -1; }
    int fd = real(path, flags, mode);
    if (mine && fd >= 0 && fd < MOST_FILES) ours[fd] = 1;
    if (struck) end();
    return fd;
}

#define OPEN(name)                                          \
    int name(const char *path, int flags, ...) {            \
        va_list list;                                       \
        va_start(list, flags);                              \
        mode_t mode = (flags & O_CREAT) ? va_arg(list, mode_t) : 0; \
        va_end(list);                                       \
        return opened(#name, path, flags, mode);            \
    }
OPEN(open)
OPEN(open64)

int close(int fd) {
    if (fd >= 0 && fd < MOST_FILES) ours[fd] = 0;
    return REAL(close)(fd);
}

ssize_t write(int fd, const void *data, size_t size) {
    ssize_t (*real)(int, const void *, size_t) = REAL(write);
    if (!is_file(fd)) return real(fd, data, size);
    int struck = strikes('w');
    if (struck && what == ERROR) { errno = error; return -1; }
    if (struck && what == HALF) { if (real(fd, data, size / 2) < 0) pause(); end(); }
    ssize_t result = real(fd, data, size);
    if (struck) end();
    return result;
}

#define PWRITE(name)                                                             \
    ssize_t name(int fd, const void *data, size_t size, off_t offset) {          \
        ssize_t (*real)(int, const void *, size_t, off_t) = REAL(name);          \
        if (!is_file(fd)) return real(fd, data, size, offset);                   \
        int struck = strikes('w');                                               \
        if (struck && what == ERROR) { errno = error; return -1; }               \
        if (struck && what == HALF) { if (real(fd, data, size / 2, offset) < 0) pause(); end(); } \
        ssize_t result = real(fd, data, size, offset);                           \
        if (struck) end();                                                       \
        return result;                                                           \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

int fsync(int fd) { SIMPLE('s', is_file(fd), REAL(fsync)(fd)); }
int fdatasync(int fd) { SIMPLE('s', is_file(fd), REAL(fdatasync)(fd)); }
int msync(void *address, size_t size, int flags) { SIMPLE('m', below != NULL, REAL(msync)(address, size, flags)); }
int ftruncate(int fd, off_t size) { SIMPLE('t', is_file(fd), REAL(ftruncate)(fd, size)); }
int ftruncate64(int fd, off_t size) { SIMPLE('t', is_file(fd), REAL(ftruncate64)(fd, size)); }
int flock(int fd, int how) { SIMPLE('f', is_file(fd), REAL(flock)(fd, how)); }
int rename(const char *from, const char *to) { SIMPLE('r', is_path(from), REAL(rename)(from, to)); }
int unlink(const char *path) { SIMPLE('u', is_path(path), REAL(unlink)(path)); }
int mkdir(const char *path, mode_t mode) { SIMPLE('d', is_path(path), REAL(mkdir)(path, mode)); }
