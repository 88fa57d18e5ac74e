/* Copies a file: cp FROM TO MODE. The mode is 0644, or 0755 for a program. */
#include "tools.h"

int main(int argc, char **argv)
{
    int byte, mode = argc == 4 ? strtol(argv[3], NULL, 8) : 0;

    program = "cp";
    if (mode != 0644 && mode != 0755)
        usage("give a file, the file to make, and its mode: 0644 or 0755");
    open_input(argv[1]);
    open_output(argv[2], mode);
    while ((byte = getc(input)) != EOF)
        write_byte(byte);
    close_output();
    return 0;
}
