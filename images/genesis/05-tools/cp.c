/* Copies a file: cp FROM TO MODE. The mode is 0644, or 0755 for a program. */

int main(int argc, char **argv)
{
    int byte, mode;

    program = "cp";
    mode = 0;
    if (argc == 4 && equal_bytes(argv[3], "0644", 5))
        mode = 420;
    if (argc == 4 && equal_bytes(argv[3], "0755", 5))
        mode = 493;
    if (!mode)
        fail("give a file, the file to make, and its mode: 0644 or 0755");
    open_input(argv[1]);
    open_output(argv[2], mode);
    for (byte = next_byte(); byte != END_OF_FILE; byte = next_byte())
        write_byte(byte);
    close_output();
    return 0;
}
