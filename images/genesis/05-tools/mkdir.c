/* Makes directories: mkdir DIRECTORY... One that is there is no error. */

enum { SYS_MKDIR = 39, EXISTS = -17 };

int main(int argc, char **argv)
{
    int i, status;

    program = "mkdir";
    for (i = 1; i < argc; i++) {
        status = syscall(SYS_MKDIR, (int)argv[i], 493, 0);
        if (status < 0 && status != EXISTS)
            fail_with(argv[i], ": cannot be made");
    }
    return 0;
}
