/* Loaded in front of the C library (LD_PRELOAD): lets calls about the store's files fail. FAULTS_FILE names a file that says which, as
 * "CALL ERRNO": CALL is "write", which writing and opening for writing are, or "sync". Without that file nothing fails. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int number_of(const char *call) {
    const char *path = getenv("FAULTS_FILE");
    if (!path) return 0;
    FILE *file = fopen(path, "re");
    if (!file) return 0;
    char failing[16] = "";
    int number = 0;
    int read = fscanf(file, "%15s %d", failing, &number);
    fclose(file);
    return read == 2 && strcmp(failing, call) == 0 ? number : 0;
}

static int is_of_store(const char *name) {
    return strstr(name, "chat.db") && !strstr(name, "chat.db-shm");
}

static int fault(int fd, const char *call) {
    int number = number_of(call);
    if (!number) return 0;
    char link[64], name[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, name, sizeof name - 1);
    if (length < 0) return 0;
    name[length] = 0;
    return is_of_store(name) ? number : 0;
}

#define FAIL(call, fd)                                                                                             \
    do {                                                                                                           \
        int number = fault(fd, call);                                                                              \
        if (number) {                                                                                              \
            errno = number;                                                                                        \
            return -1;                                                                                             \
        }                                                                                                          \
    } while (0)

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) {
    FAIL("write", fd);
    return ((ssize_t (*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "pwrite"))(fd, bytes, count, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
    FAIL("write", fd);
    return ((ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64"))(fd, bytes, count, offset);
}

ssize_t write(int fd, const void *bytes, size_t count) {
    FAIL("write", fd);
    return ((ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write"))(fd, bytes, count);
}

/* Opening fails only as it does on a file system that became read-only: a full disk opens. */
static int open_with(const char *function, const char *name, int flags, mode_t mode) {
    if ((flags & O_ACCMODE) != O_RDONLY && is_of_store(name) && number_of("write") == EROFS) {
        errno = EROFS;
        return -1;
    }
    return ((int (*)(const char *, int, ...))dlsym(RTLD_NEXT, function))(name, flags, mode);
}

int open(const char *name, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return open_with("open", name, flags, mode);
}

int open64(const char *name, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return open_with("open64", name, flags, mode);
}

int fsync(int fd) {
    FAIL("sync", fd);
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}

int fdatasync(int fd) {
    FAIL("sync", fd);
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}
