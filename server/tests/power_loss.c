/* Loaded in front of the C library (LD_PRELOAD): records what is done to the store's files, in the file that WRITES_LOG names. From that
 * the test makes the files as they may be after a loss of power. A record is this header, in the machine's byte order, the name of the
 * file, and the bytes that are written. Its first byte: 'w' a write, 't' a truncation, 'u' a removal, all recorded before they are done; 's' a sync of
 * a file, 'd' one of a directory, both recorded when they were done. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

struct header {
    uint8_t what, name_length, unused[2];
    uint32_t length;
    uint64_t offset;
};

/* The C library's own function. */
#define NEXT(type, name) ((type)dlsym(RTLD_NEXT, name))

typedef ssize_t (*write_function)(int, const void *, size_t);
typedef ssize_t (*pwrite_function)(int, const void *, size_t, off64_t);
typedef int (*truncate_function)(int, off64_t);
typedef int (*sync_function)(int);

/* The name of a file of the store, without its directory; NULL for other files. */
static const char *store_name(const char *path) {
    const char *name = strrchr(path, '/');
    return name && strncmp(name + 1, "chat.db", 7) == 0 && !strstr(name, "-shm") ? name + 1 : NULL;
}

static const char *name_of(int fd, char *path, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, size - 1);
    if (length < 0) return NULL;
    path[length] = 0;
    return store_name(path);
}

/* One write, so that records of several threads do not mix. */
static void record(uint8_t what, const char *name, uint64_t offset, const void *bytes, size_t length) {
    static int log = -1;
    if (log < 0) {
        const char *path = getenv("WRITES_LOG");
        if (!path) return;
        log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    }
    struct header header = {.what = what, .name_length = strlen(name), .length = length, .offset = offset};
    size_t all = sizeof header + header.name_length + length;
    char *buffer = malloc(all);
    if (!buffer) abort();
    memcpy(buffer, &header, sizeof header);
    memcpy(buffer + sizeof header, name, header.name_length);
    if (length) memcpy(buffer + sizeof header + header.name_length, bytes, length);
    if (NEXT(write_function, "write")(log, buffer, all) != (ssize_t)all) abort();
    free(buffer);
}

static void record_write(int fd, uint64_t offset, const void *bytes, size_t length) {
    char path[4096];
    const char *name = name_of(fd, path, sizeof path);
    if (name) record('w', name, offset, bytes, length);
}

ssize_t write(int fd, const void *bytes, size_t count) {
    record_write(fd, lseek64(fd, 0, SEEK_CUR), bytes, count);
    return NEXT(write_function, "write")(fd, bytes, count);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) {
    record_write(fd, offset, bytes, count);
    return NEXT(pwrite_function, "pwrite64")(fd, bytes, count, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
    record_write(fd, offset, bytes, count);
    return NEXT(pwrite_function, "pwrite64")(fd, bytes, count, offset);
}

static int record_truncate(int fd, off64_t length) {
    char path[4096];
    const char *name = name_of(fd, path, sizeof path);
    if (name) record('t', name, length, NULL, 0);
    return NEXT(truncate_function, "ftruncate64")(fd, length);
}

int ftruncate(int fd, off_t length) {
    return record_truncate(fd, length);
}

int ftruncate64(int fd, off64_t length) {
    return record_truncate(fd, length);
}

int unlink(const char *path) {
    const char *name = store_name(path);
    if (name) record('u', name, 0, NULL, 0);
    return NEXT(int (*)(const char *), "unlink")(path);
}

static int record_sync(int fd, const char *function) {
    int result = NEXT(sync_function, function)(fd);
    int error = errno;
    char path[4096];
    const char *name = name_of(fd, path, sizeof path);
    struct stat status;
    if (result == 0 && name) record('s', name, 0, NULL, 0);
    else if (result == 0 && fstat(fd, &status) == 0 && S_ISDIR(status.st_mode)) record('d', "", 0, NULL, 0);
    errno = error;
    return result;
}

int fsync(int fd) {
    return record_sync(fd, "fsync");
}

int fdatasync(int fd) {
    return record_sync(fd, "fdatasync");
}
