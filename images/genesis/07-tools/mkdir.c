/* Makes directories: mkdir DIRECTORY... One that is there is no error. */
#include "tools.h"

enum { EXISTS = -17 };

int main(int argc, char **argv)
{
    program = "mkdir";
    for (int i = 1; i < argc; i++) {
        int status = make_directory(argv[i]);
        if (status < 0 && status != EXISTS)
            fail(argv[i], "cannot be made");
    }
    return 0;
}
