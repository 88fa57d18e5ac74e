#ifndef _UNISTD_H
#define _UNISTD_H
#include <stddef.h>
typedef int ssize_t;
typedef long off_t;
extern char **environ;
int close(int descriptor);
ssize_t read(int descriptor, void *to, size_t count);
ssize_t write(int descriptor, const void *from, size_t count);
off_t lseek(int descriptor, off_t offset, int whence);
int unlink(const char *path);
char *getcwd(char *to, size_t size);
int execve(const char *path, char *const *arguments, char *const *environment);
int execvp(const char *path, char *const *arguments);
void _exit(int status);
#endif
