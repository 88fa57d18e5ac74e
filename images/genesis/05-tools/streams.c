/* Buffered input and output: one file is read, one is written. Errors name the file and end the program. */

enum { SYS_CREAT = 8, STREAM_SIZE = 65536, END_OF_FILE = -1 };

char *input_name;
int input_descriptor;
char input_bytes[65536];
int input_at;
int input_end;

char *output_name;
int output_descriptor;
char output_bytes[65536];
int output_used;

void fail_with(char *name, char *message)
{
    fail_about("", name, length_of(name), message);
}

void open_input(char *name)
{
    input_name = name;
    input_descriptor = syscall(SYS_OPEN, (int)name, 0, 0);
    if (input_descriptor < 0)
        fail_with(name, ": cannot be opened");
    input_at = 0;
    input_end = 0;
}

/* The next byte of the input, or END_OF_FILE. */
int next_byte(void)
{
    if (input_at == input_end) {
        input_end = syscall(SYS_READ, input_descriptor, (int)input_bytes, STREAM_SIZE);
        input_at = 0;
        if (input_end < 0)
            fail_with(input_name, ": cannot be read");
        if (input_end == 0)
            return END_OF_FILE;
    }
    return input_bytes[input_at++] & 255;
}

/* The next byte of the input, which must be there. */
int need_byte(void)
{
    int byte;

    byte = next_byte();
    if (byte == END_OF_FILE)
        fail_with(input_name, ": is cut off");
    return byte;
}

void close_input(void)
{
    syscall(SYS_CLOSE, input_descriptor, 0, 0);
}

void open_output(char *name, int mode)
{
    syscall(SYS_UNLINK, (int)name, 0, 0);
    output_name = name;
    output_descriptor = syscall(SYS_CREAT, (int)name, mode, 0);
    if (output_descriptor < 0)
        fail_with(name, ": cannot be made");
    output_used = 0;
}

void flush_output(void)
{
    int written, at;

    at = 0;
    while (at < output_used) {
        written = syscall(SYS_WRITE, output_descriptor, (int)(output_bytes + at), output_used - at);
        if (written <= 0)
            fail_with(output_name, ": cannot be written");
        at += written;
    }
    output_used = 0;
}

void write_byte(int byte)
{
    if (output_used == STREAM_SIZE)
        flush_output();
    output_bytes[output_used++] = byte;
}

void close_output(void)
{
    flush_output();
    if (syscall(SYS_CLOSE, output_descriptor, 0, 0) < 0)
        fail_with(output_name, ": cannot be written");
}

void write_bytes(char *bytes, int count)
{
    while (count > 0) {
        write_byte(*bytes++);
        count--;
    }
}
