/* What the kernel does for a program, and how a program begins and ends. The system calls are those of i386. */
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
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
    SYS_TIME = 13, SYS_LSEEK = 19, SYS_GETTIMEOFDAY = 78, SYS_MPROTECT = 125, SYS_GETCWD = 183
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

/* The path is not searched. */
int execvp(const char *path, char *const *arguments)
{
    return execve(path, arguments, environ);
}

void _exit(int status)
{
    syscall(SYS_EXIT, status, 0, 0);
}

void exit(int status)
{
    fflush(NULL);
    _exit(status);
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

/* The date is that of the epoch: what is compiled must not depend on when. Only __DATE__ and __TIME__ ask for it. */
struct tm *localtime(const time_t *time)
{
    static struct tm epoch = {0, 0, 0, 1, 0, 70};

    return &epoch;
}

/* A program of ours has one thread, which nothing can keep waiting. */
int sem_init(sem_t *semaphore, int shared, unsigned int value) { return 0; }
int sem_wait(sem_t *semaphore) { return 0; }
int sem_post(sem_t *semaphore) { return 0; }

/* Memory comes in sizes of powers of two; what is freed waits in a list for the next of its size. A block begins with the
   number of its power. */

union block {
    int power;
    union block *next;
    double align;
};

enum { BLOCKS = 0x4000000 / sizeof(union block) };
static union block memory[BLOCKS], *free_blocks[32];
static int used;

void *malloc(size_t size)
{
    union block *block;
    size_t power = 4, count;

    while (power < 31 && (1U << power) < size + sizeof(union block))
        power++;
    block = free_blocks[power];
    if (block)
        free_blocks[power] = block->next;
    else {
        count = (1U << power) / sizeof(union block);
        if (count > BLOCKS - used) {
            errno = ENOMEM;
            return NULL;
        }
        block = memory + used;
        used += count;
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
