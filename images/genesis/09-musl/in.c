/* Runs a program in a directory: in DIRECTORY PROGRAM ARGUMENT... */
#include <stdio.h>
#include <unistd.h>

enum { SYS_CHDIR = 12 };

int main(int argc, char **argv)
{
    if (argc < 3) {
        fputs("in: give a directory, a program and its arguments\n", stderr);
        return 1;
    }
    if (syscall(SYS_CHDIR, (int)argv[1], 0, 0) < 0)
        fprintf(stderr, "in: no such directory: %s\n", argv[1]);
    else if (execve(argv[2], argv + 2, environ) < 0)
        fprintf(stderr, "in: cannot execute %s\n", argv[2]);
    return 1;
}
