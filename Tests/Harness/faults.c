// Makes a process's calls that change files fail. The tests of what a run's folder survives preload it into `easel`.
//
//   EASEL_FAULT_BELOW   the beginning of the paths concerned; calls on others are neither counted nor changed
//   EASEL_FAULT_AT      the call that fails, counted from 1; 0 for none
//   EASEL_FAULT_ERROR   the errno that it fails with
//   EASEL_FAULT_STAYS   1 if all later calls fail too
//   EASEL_FAULT_LOG     a file that receives a line for each call: its name and its path
//
// The calls counted are open for writing, write, fsync, rename and mkdir, under all their names.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static atomic_int calls;

static const char *setting(const char *name) {
  const char *value = getenv(name);
  return value && *value ? value : NULL;
}

static int number(const char *name) {
  const char *value = setting(name);
  return value ? atoi(value) : 0;
}

static void note(const char *call, const char *path) {
  const char *log = setting("EASEL_FAULT_LOG");
  if (!log) return;
  int file = REAL(open)(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file < 0) return;
  char line[4400];
  int length = snprintf(line, sizeof line, "%s %s\n", call, path);
  if (REAL(write)(file, line, (size_t)length) < 0) { /* the count is what is checked */
  }
  close(file);
}

// Whether a call should fail; sets errno if so.
static int fails(const char *call, const char *path) {
  const char *below = setting("EASEL_FAULT_BELOW");
  if (!below || !path || strncmp(path, below, strlen(below)) != 0) return 0;
  int at = number("EASEL_FAULT_AT"), call_number = atomic_fetch_add(&calls, 1) + 1;
  note(call, path);
  if (at == 0 || call_number < at || (call_number > at && !number("EASEL_FAULT_STAYS"))) return 0;
  errno = number("EASEL_FAULT_ERROR");
  return 1;
}

static int descriptor_fails(const char *call, int file) {
  char name[64], path[4097];
  snprintf(name, sizeof name, "/proc/self/fd/%d", file);
  ssize_t length = readlink(name, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return fails(call, path);
}

static int changes(int flags) { return (flags & O_ACCMODE) != O_RDONLY || (flags & O_CREAT); }

#define OPEN(name)                                              \
  int name(const char *path, int flags, ...) {                  \
    va_list rest;                                               \
    va_start(rest, flags);                                      \
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
    va_end(rest);                                               \
    if (changes(flags) && fails("open", path)) return -1;       \
    return REAL(name)(path, flags, mode);                       \
  }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                            \
  int name(int folder, const char *path, int flags, ...) {      \
    va_list rest;                                               \
    va_start(rest, flags);                                      \
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
    va_end(rest);                                               \
    if (changes(flags) && fails("open", path)) return -1;       \
    return REAL(name)(folder, path, flags, mode);               \
  }
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int file, const void *bytes, size_t count) {
  return descriptor_fails("write", file) ? -1 : REAL(write)(file, bytes, count);
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t place) {
  return descriptor_fails("write", file) ? -1 : REAL(pwrite)(file, bytes, count, place);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t place) {
  return descriptor_fails("write", file) ? -1 : REAL(pwrite64)(file, bytes, count, place);
}

ssize_t writev(int file, const struct iovec *parts, int count) {
  return descriptor_fails("write", file) ? -1 : REAL(writev)(file, parts, count);
}

int fsync(int file) { return descriptor_fails("fsync", file) ? -1 : REAL(fsync)(file); }
int fdatasync(int file) { return descriptor_fails("fsync", file) ? -1 : REAL(fdatasync)(file); }

int rename(const char *from, const char *to) { return fails("rename", to) ? -1 : REAL(rename)(from, to); }

int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags) {
  return fails("rename", to) ? -1 : REAL(renameat2)(from_folder, from, to_folder, to, flags);
}

int mkdir(const char *path, mode_t mode) { return fails("mkdir", path) ? -1 : REAL(mkdir)(path, mode); }
