/* System calls, memory, text and errors: what every other file stands on. */

enum {
    SYS_EXIT = 1, SYS_READ = 3, SYS_WRITE = 4, SYS_OPEN = 5, SYS_CLOSE = 6, SYS_UNLINK = 10, SYS_BRK = 45,
    SYS_FCHMOD = 94
};

enum { NO = 0, YES = 1 };

/* More memory than this means that the input makes the compiler run wild, for instance a macro that doubles itself. */
enum { MEMORY_LIMIT = 1000000000, MEMORY_STEP = 1048576 };

char *memory_next;
char *memory_end;
int memory_used;

void fail(char *message);

void exit(int status)
{
    syscall(SYS_EXIT, status, 0, 0);
}

/* Zeroed memory; it is never given back. */
char *allocate(int size)
{
    char *result;
    int step;

    if (!memory_next) {
        memory_next = (char *)syscall(SYS_BRK, 0, 0, 0);
        memory_end = memory_next;
    }
    size = (size + 3) & ~3;
    if (size < 0 || size > MEMORY_LIMIT - memory_used)
        fail("out of memory");
    memory_used += size;
    if (size > memory_end - memory_next) {
        step = (size + MEMORY_STEP) & ~4095;
        memory_end = memory_end + step;
        if ((char *)syscall(SYS_BRK, (int)memory_end, 0, 0) != memory_end)
            fail("out of memory");
    }
    result = memory_next;
    memory_next = memory_next + size;
    return result;
}

/* Bytes */

void copy_bytes(char *to, char *from, int count)
{
    while (count > 0) {
        *to++ = *from++;
        count--;
    }
}

int equal_bytes(char *a, char *b, int count)
{
    while (count > 0) {
        if (*a++ != *b++)
            return NO;
        count--;
    }
    return YES;
}

int length_of(char *text)
{
    int length;

    length = 0;
    while (text[length])
        length++;
    return length;
}

char *copy_text(char *from, int length)
{
    char *result;

    result = allocate(length + 1);
    copy_bytes(result, from, length);
    return result;
}

int is_digit(int c)
{
    return c >= '0' && c <= '9';
}

int is_letter(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* The value of a digit in any base up to 36, or 99. */
int digit_value(int c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'Z')
        return c - 'A' + 10;
    return 99;
}

/* 1 if a < b as unsigned numbers */
int below(int a, int b)
{
    return (a ^ (-2147483647 - 1)) < (b ^ (-2147483647 - 1));
}

/* Buffers: bytes that grow */

struct buffer {
    char *buffer_bytes;
    int buffer_used;
    int buffer_room;
};

struct buffer *new_buffer(void)
{
    struct buffer *buffer;

    buffer = (struct buffer *)allocate(sizeof(struct buffer));
    buffer->buffer_room = 4096;
    buffer->buffer_bytes = allocate(4096);
    return buffer;
}

/* Grows the buffer to `size` bytes; new ones are zero. */
void extend(struct buffer *buffer, int size)
{
    char *bytes;

    if (size < 0)
        fail("out of memory");
    if (size > buffer->buffer_room) {
        while (size > buffer->buffer_room) {
            if (buffer->buffer_room > MEMORY_LIMIT / 2)
                fail("out of memory");
            buffer->buffer_room *= 2;
        }
        bytes = allocate(buffer->buffer_room);
        copy_bytes(bytes, buffer->buffer_bytes, buffer->buffer_used);
        buffer->buffer_bytes = bytes;
    }
    if (size > buffer->buffer_used)
        buffer->buffer_used = size;
}

void put_byte(struct buffer *buffer, int byte)
{
    int at;

    at = buffer->buffer_used;
    if (at < buffer->buffer_room)
        buffer->buffer_used = at + 1;
    else
        extend(buffer, at + 1);
    buffer->buffer_bytes[at] = byte;
}

void put_text(struct buffer *buffer, char *text)
{
    while (*text)
        put_byte(buffer, *text++);
}

void put_decimal(struct buffer *buffer, int value)
{
    if (value < 0) {
        put_byte(buffer, '-');
        value = -value;
    }
    if (value >= 10)
        put_decimal(buffer, value / 10);
    put_byte(buffer, '0' + value % 10);
}

void set_word(struct buffer *buffer, int at, int value)
{
    char *to;

    to = buffer->buffer_bytes + at;
    to[0] = value;
    to[1] = value >> 8;
    to[2] = value >> 16;
    to[3] = value >> 24;
}

int get_word(struct buffer *buffer, int at)
{
    char *from;

    from = buffer->buffer_bytes + at;
    return (from[0] & 255) | (from[1] & 255) << 8 | (from[2] & 255) << 16 | from[3] << 24;
}

void put_word(struct buffer *buffer, int value)
{
    int at;

    at = buffer->buffer_used;
    extend(buffer, at + 4);
    set_word(buffer, at, value);
}

/* Files */

void write_all(int descriptor, char *bytes, int count)
{
    int written;

    while (count > 0) {
        written = syscall(SYS_WRITE, descriptor, (int)bytes, count);
        if (written <= 0)
            exit(1);
        bytes = bytes + written;
        count -= written;
    }
}

/* The whole file in a buffer, or 0 if it cannot be read. */
struct buffer *read_file(char *path)
{
    struct buffer *buffer;
    int descriptor, count, used;

    descriptor = syscall(SYS_OPEN, (int)path, 0, 0);
    if (descriptor < 0)
        return 0;
    buffer = new_buffer();
    used = 0;
    do {
        extend(buffer, used + 65536);
        count = syscall(SYS_READ, descriptor, (int)(buffer->buffer_bytes + used), 65536);
        if (count > 0)
            used += count;
    } while (count > 0);
    buffer->buffer_used = used;
    syscall(SYS_CLOSE, descriptor, 0, 0);
    if (count < 0)
        return 0;
    return buffer;
}

/* Errors end the compiler: `file:line: message`. The place is that of the token being looked at. */

char *error_file;
int error_line;
char error_text[600];
int error_used;

void say(char *text, int length, int limit)
{
    int i;

    if (length > limit)
        length = limit;
    for (i = 0; i < length; i++)
        error_text[error_used++] = text[i];
}

void fail_about(char *before, char *subject, int length, char *after)
{
    int divisor;

    error_used = 0;
    if (error_file) {
        say(error_file, length_of(error_file), 300);
        say(":", 1, 1);
        divisor = 1;
        while (error_line / divisor >= 10)
            divisor *= 10;
        while (divisor > 0) {
            error_text[error_used++] = '0' + error_line / divisor % 10;
            divisor /= 10;
        }
        say(": ", 2, 2);
    } else
        say("cc: ", 4, 4);
    say(before, length_of(before), 100);
    say(subject, length, 60);
    say(after, length_of(after), 100);
    say("\n", 1, 1);
    write_all(2, error_text, error_used);
    exit(1);
}

void fail(char *message)
{
    fail_about(message, "", 0, "");
}
