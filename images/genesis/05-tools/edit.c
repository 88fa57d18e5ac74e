/* Replaces a text in a file: edit FILE COUNT OLD NEW

   OLD must stand there exactly COUNT times, or nothing is changed. In both texts \s is a space, \n the end of a line,
   \t a tab and \\ a backslash. */

/* An argument with its escapes replaced. */
struct buffer *plain(char *text)
{
    struct buffer *result;

    result = new_buffer();
    while (*text) {
        if (*text == '\\') {
            text++;
            if (*text == 'n')
                put_byte(result, '\n');
            else if (*text == 's')
                put_byte(result, ' ');
            else if (*text == 't')
                put_byte(result, '\t');
            else if (*text == '\\')
                put_byte(result, '\\');
            else
                fail("behind a backslash there must be s, n, t or a backslash");
            text++;
        } else
            put_byte(result, *text++);
    }
    return result;
}

int main(int argc, char **argv)
{
    struct buffer *text, *old, *new;
    char *at, *end;
    int wanted, found;

    program = "edit";
    if (argc != 5)
        fail("give a file, a count, the old text and the new one");
    wanted = 0;
    for (at = argv[2]; is_digit(*at) && wanted < 1000000; at++)
        wanted = wanted * 10 + *at - '0';
    if (*at || wanted == 0)
        fail("the count must be a number of at least 1");
    old = plain(argv[3]);
    new = plain(argv[4]);
    if (old->buffer_used == 0)
        fail("the old text must not be empty");
    text = read_file(argv[1]);
    if (!text)
        fail_with(argv[1], ": cannot be read");
    end = text->buffer_bytes + text->buffer_used;
    found = 0;
    at = text->buffer_bytes;
    while (at + old->buffer_used <= end)
        if (equal_bytes(at, old->buffer_bytes, old->buffer_used)) {
            found++;
            at = at + old->buffer_used;
        } else
            at++;
    if (found != wanted)
        fail_with(argv[1], ": does not have the old text as often as it should");
    open_output(argv[1], 420);
    at = text->buffer_bytes;
    while (at < end)
        if (at + old->buffer_used <= end && equal_bytes(at, old->buffer_bytes, old->buffer_used)) {
            write_bytes(new->buffer_bytes, new->buffer_used);
            at = at + old->buffer_used;
        } else
            write_byte(*at++);
    close_output();
    return 0;
}
