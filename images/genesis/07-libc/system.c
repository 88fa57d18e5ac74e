/* What the kernel does for a program, and how a program begins and ends. The system calls are those of i386. */
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum {
    SYS_EXIT = 1, SYS_READ = 3, SYS_WRITE = 4, SYS_OPEN = 5, SYS_CLOSE = 6, SYS_UNLINK = 10, SYS_EXECVE = 11,
    SYS_TIME = 13, SYS_LSEEK = 19, SYS_BRK = 45, SYS_GETTIMEOFDAY = 78, SYS_MPROTECT = 125, SYS_GETCWD = 183
};

int errno;
char **environ;

#ifdef __TINYC__
/* cc has the entry and these functions built in; here they are once more in assembly. setjmp keeps ebp, esp, the return address, ebx, esi, edi. */
int syscall(int number, ...);
asm(".globl _start\n"
    "_start: mov (%esp), %eax\n lea 4(%esp), %ecx\n lea 4(%ecx,%eax,4), %edx\n push %edx\n push %ecx\n push %eax\n"
    "call __start\n"
    ".globl syscall\n"
    "syscall: push %ebx\n mov 8(%esp), %eax\n mov 12(%esp), %ebx\n mov 16(%esp), %ecx\n mov 20(%esp), %edx\n"
    "int $0x80\n pop %ebx\n ret\n"
    ".globl setjmp\n"
    "setjmp: mov 4(%esp), %ecx\n mov (%esp), %edx\n mov %ebp, (%ecx)\n lea 4(%esp), %eax\n mov %eax, 4(%ecx)\n"
    "mov %edx, 8(%ecx)\n mov %ebx, 12(%ecx)\n mov %esi, 16(%ecx)\n mov %edi, 20(%ecx)\n xor %eax, %eax\n ret\n"
    ".globl longjmp\n"
    "longjmp: mov 4(%esp), %ecx\n mov 8(%esp), %eax\n test %eax, %eax\n jnz 1f\n inc %eax\n"
    "1: mov (%ecx), %ebp\n mov 4(%ecx), %esp\n mov 12(%ecx), %ebx\n mov 16(%ecx), %esi\n mov 20(%ecx), %edi\n"
    "jmp *8(%ecx)\n");
#endif

int main(int argc, char **argv, char **environment);

/* The first function of a program */
void __start(int argc, char **argv, char **environment)
{
    environ = environment;
    exit(main(argc, argv, environment));
}

static int checked(int result)
{
    if (result < 0 && result > -4096) {
        errno = -result;
        return -1;
    }
    return result;
}

int open(const char *path, int flags, ...)
{
    va_list list;
    int mode;

    va_start(list, flags);
    mode = va_arg(list, int);
    va_end(list);
    return checked(syscall(SYS_OPEN, (int)path, flags, mode));
}

int close(int descriptor)
{
    return checked(syscall(SYS_CLOSE, descriptor, 0, 0));
}

ssize_t read(int descriptor, void *to, size_t count)
{
    return checked(syscall(SYS_READ, descriptor, (int)to, count));
}

ssize_t write(int descriptor, const void *from, size_t count)
{
    return checked(syscall(SYS_WRITE, descriptor, (int)from, count));
}

off_t lseek(int descriptor, off_t offset, int whence)
{
    return checked(syscall(SYS_LSEEK, descriptor, offset, whence));
}

int unlink(const char *path)
{
    return checked(syscall(SYS_UNLINK, (int)path, 0, 0));
}

int remove(const char *path)
{
    return unlink(path);
}

int mprotect(void *start, size_t length, int protection)
{
    return checked(syscall(SYS_MPROTECT, (int)start, length, protection));
}

char *getcwd(char *to, size_t size)
{
    return checked(syscall(SYS_GETCWD, (int)to, size, 0)) < 0 ? NULL : to;
}

int execve(const char *path, char *const *arguments, char *const *environment)
{
    return checked(syscall(SYS_EXECVE, (int)path, (int)arguments, (int)environment));
}

int execvp(const char *path, char *const *arguments)
{
    const char *list = getenv("PATH"), *end;
    char *full;

    if (strchr(path, '/') || !list)
        return execve(path, arguments, environ);
    for (;; list = end + 1) {
        for (end = list; *end && *end != ':'; end++)
            ;
        full = malloc(end - list + strlen(path) + 2);
        memcpy(full, list, end - list);
        full[end - list] = '/';
        strcpy(full + (end - list) + 1, path);
        execve(full, arguments, environ);
        free(full);
        if (!*end)
            return -1;
    }
}

void _exit(int status)
{
    syscall(SYS_EXIT, status, 0, 0);
}

static void (*at_exit[32])(void);
static int at_exit_count;

int atexit(void (*function)(void))
{
    if (at_exit_count == 32)
        return -1;
    at_exit[at_exit_count++] = function;
    return 0;
}

void exit(int status)
{
    while (at_exit_count)
        at_exit[--at_exit_count]();
    fflush(NULL);
    _exit(status);
}

void abort(void)
{
    fflush(NULL);
    _exit(134);
}

void __assert_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, condition);
    abort();
}

char *getenv(const char *name)
{
    size_t length = strlen(name);
    char **at;

    for (at = environ; at && *at; at++)
        if (!strncmp(*at, name, length) && (*at)[length] == '=')
            return *at + length + 1;
    return NULL;
}

int gettimeofday(struct timeval *to, void *zone)
{
    return checked(syscall(SYS_GETTIMEOFDAY, (int)to, (int)zone, 0));
}

time_t time(time_t *to)
{
    return syscall(SYS_TIME, (int)to, 0, 0);
}

/* The date in UTC, from years of 365.2425 days that begin in March */
struct tm *localtime(const time_t *time)
{
    static struct tm tm;
    int days = *time / 86400, seconds = *time % 86400, era, year, day, month;

    tm.tm_sec = seconds % 60;
    tm.tm_min = seconds / 60 % 60;
    tm.tm_hour = seconds / 3600;
    tm.tm_wday = (days + 4) % 7;
    days += 719468;
    era = days % 146097;
    year = (era - era / 1460 + era / 36524 - era / 146096) / 365;
    day = era - (365 * year + year / 4 - year / 100);
    month = (5 * day + 2) / 153;
    tm.tm_mday = day - (153 * month + 2) / 5 + 1;
    tm.tm_mon = (month + 2) % 12;
    tm.tm_year = year + days / 146097 * 400 + (month > 9) - 1900;
    year = tm.tm_year + 1900;
    tm.tm_yday = (month > 9 ? day - 306 : day + 59 + (year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)));
    tm.tm_isdst = 0;
    return &tm;
}

int sem_init(sem_t *semaphore, int shared, unsigned int value)
{
    *semaphore = value;
    return 0;
}

int sem_wait(sem_t *semaphore)
{
    if (*semaphore == 0) {
        fputs("waiting for a semaphore that no other thread can raise\n", stderr);
        abort();
    }
    --*semaphore;
    return 0;
}

int sem_post(sem_t *semaphore)
{
    ++*semaphore;
    return 0;
}

/* Memory comes in sizes of powers of two; what is freed waits in a list for the next of its size. A block begins with the
   number of its power. */

union block {
    int power;
    union block *next;
    double align;
};

static union block *free_blocks[32];
static char *memory_next, *memory_end;

void *malloc(size_t size)
{
    union block *block;
    int power = 4;

    if (size > 0x40000000)
        return NULL;
    while ((1U << power) < size + sizeof(union block))
        power++;
    block = free_blocks[power];
    if (block)
        free_blocks[power] = block->next;
    else {
        if (!memory_next)
            memory_next = memory_end = (char *)((syscall(SYS_BRK, 0, 0, 0) + 15) & ~15);
        if ((1U << power) > (size_t)(memory_end - memory_next)) {
            memory_end = memory_next + (1 << power) + 0x40000;
            if ((char *)syscall(SYS_BRK, (int)memory_end, 0, 0) != memory_end) {
                memory_end = memory_next;
                errno = ENOMEM;
                return NULL;
            }
        }
        block = (union block *)memory_next;
        memory_next += 1 << power;
    }
    block->power = power;
    return block + 1;
}

void free(void *memory)
{
    union block *block = memory;
    int power;

    if (!block)
        return;
    block--;
    power = block->power;
    block->next = free_blocks[power];
    free_blocks[power] = block;
}

void *calloc(size_t count, size_t size)
{
    void *memory;

    if (size && count > 0x40000000 / size)
        return NULL;
    memory = malloc(count * size);
    return memory ? memset(memory, 0, count * size) : NULL;
}

void *realloc(void *memory, size_t size)
{
    size_t room;
    void *larger;

    if (!memory)
        return malloc(size);
    room = (1U << ((union block *)memory)[-1].power) - sizeof(union block);
    if (size <= room)
        return memory;
    larger = malloc(size);
    if (larger) {
        memcpy(larger, memory, room);
        free(memory);
    }
    return larger;
}
