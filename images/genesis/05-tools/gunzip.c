/* Unpacks a gzip file (RFC 1951, RFC 1952): gunzip INPUT OUTPUT. Checks length and CRC-32 of each member. */

enum { WINDOW = 32768, CODE_BITS = 15, LITERALS = 288 };

char window[32768];
int window_at;
int member_size;
int crc;
int crc_table[256];

int bits_held;
int bits_count;

/* A Huffman code: how many codes there are of each length, and the symbols in the order of their codes. */
int literal_counts[16];
int literal_symbols[288];
int distance_counts[16];
int distance_symbols[32];

int code_lengths[320];

int length_bases[] = {
    3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258
};
int length_bits[] = { 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0 };
int distance_bases[] = {
    1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073,
    4097, 6145, 8193, 12289, 16385, 24577
};
int distance_bits[] = {
    0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13
};
int order_of_lengths[] = { 16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15 };

void damaged(char *message)
{
    fail_with(input_name, message);
}

void make_crc_table(void)
{
    int i, k, value;

    for (i = 0; i < 256; i++) {
        value = i;
        for (k = 0; k < 8; k++)
            if (value & 1)
                value = ((value >> 1) & 0x7fffffff) ^ 0xedb88320;
            else
                value = (value >> 1) & 0x7fffffff;
        crc_table[i] = value;
    }
}

void put(int byte)
{
    window[window_at] = byte;
    window_at = (window_at + 1) & (WINDOW - 1);
    crc = crc_table[(crc ^ byte) & 255] ^ ((crc >> 8) & 0xffffff);
    member_size++;
    write_byte(byte);
}

/* The next bits of the input, the first one lowest; count <= 16 */
int take_bits(int count)
{
    int value;

    while (bits_count < count) {
        bits_held = bits_held | need_byte() << bits_count;
        bits_count += 8;
    }
    value = bits_held & ((1 << count) - 1);
    bits_held = bits_held >> count;
    bits_count -= count;
    return value;
}

int code_places[17];

/* Makes the code in which symbol i has lengths[i] bits, of at most CODE_BITS. */
void make_code(int *lengths, int symbols, int *counts, int *sorted)
{
    int i, left;

    for (i = 0; i <= CODE_BITS; i++)
        counts[i] = 0;
    for (i = 0; i < symbols; i++)
        counts[lengths[i]]++;
    counts[0] = 0;
    left = 1;
    for (i = 1; i <= CODE_BITS; i++) {
        left = (left << 1) - counts[i];
        if (left < 0)
            damaged(": is damaged: a code has too many words");
    }
    code_places[1] = 0;
    for (i = 1; i < CODE_BITS; i++)
        code_places[i + 1] = code_places[i] + counts[i];
    for (i = 0; i < symbols; i++)
        if (lengths[i])
            sorted[code_places[lengths[i]]++] = i;
}

/* Codes of one length follow each other, and those of the next length begin behind them: RFC 1951, 3.2.2. */
int take_symbol(int *counts, int *sorted)
{
    int code, first, place, length;

    code = 0;
    first = 0;
    place = 0;
    for (length = 1; length <= CODE_BITS; length++) {
        code = code | take_bits(1);
        if (code - first < counts[length])
            return sorted[place + code - first];
        place += counts[length];
        first = (first + counts[length]) << 1;
        code = code << 1;
    }
    damaged(": is damaged: no such code");
    return 0;
}

void take_stored(void)
{
    int length, complement;

    bits_held = 0;
    bits_count = 0;
    length = take_bits(16);
    complement = take_bits(16);
    if (length != (complement ^ 65535))
        damaged(": is damaged: a stored block has two lengths");
    while (length > 0) {
        put(need_byte());
        length--;
    }
}

void take_compressed(void)
{
    int symbol, length, distance, from;

    for (;;) {
        symbol = take_symbol(literal_counts, literal_symbols);
        if (symbol < 256)
            put(symbol);
        else if (symbol == 256)
            return;
        else {
            symbol -= 257;
            if (symbol > 28)
                damaged(": is damaged: no such length");
            length = length_bases[symbol] + take_bits(length_bits[symbol]);
            symbol = take_symbol(distance_counts, distance_symbols);
            if (symbol > 29)
                damaged(": is damaged: no such distance");
            distance = distance_bases[symbol] + take_bits(distance_bits[symbol]);
            if (distance > member_size)
                damaged(": is damaged: it refers to what is before its begin");
            from = window_at - distance;
            while (length > 0) {
                put(window[from & (WINDOW - 1)] & 255);
                from++;
                length--;
            }
        }
    }
}

void use_fixed_codes(void)
{
    int i;

    for (i = 0; i < LITERALS; i++)
        if (i < 144)
            code_lengths[i] = 8;
        else if (i < 256)
            code_lengths[i] = 9;
        else if (i < 280)
            code_lengths[i] = 7;
        else
            code_lengths[i] = 8;
    make_code(code_lengths, LITERALS, literal_counts, literal_symbols);
    for (i = 0; i < 30; i++)
        code_lengths[i] = 5;
    make_code(code_lengths, 30, distance_counts, distance_symbols);
}

void take_codes(void)
{
    int literals, distances, lengths, i, symbol, repeat, value;

    literals = take_bits(5) + 257;
    distances = take_bits(5) + 1;
    lengths = take_bits(4) + 4;
    for (i = 0; i < 19; i++)
        code_lengths[i] = 0;
    for (i = 0; i < lengths; i++)
        code_lengths[order_of_lengths[i]] = take_bits(3);
    make_code(code_lengths, 19, literal_counts, literal_symbols);
    i = 0;
    while (i < literals + distances) {
        symbol = take_symbol(literal_counts, literal_symbols);
        repeat = 1;
        value = symbol;
        if (symbol == 16) {
            if (i == 0)
                damaged(": is damaged: it repeats a length before the first");
            value = code_lengths[i - 1];
            repeat = 3 + take_bits(2);
        } else if (symbol == 17) {
            value = 0;
            repeat = 3 + take_bits(3);
        } else if (symbol == 18) {
            value = 0;
            repeat = 11 + take_bits(7);
        }
        if (i + repeat > literals + distances)
            damaged(": is damaged: it has too many lengths");
        while (repeat > 0) {
            code_lengths[i++] = value;
            repeat--;
        }
    }
    if (literals > 286 || distances > 30)
        damaged(": is damaged: it has too many lengths");
    make_code(code_lengths, literals, literal_counts, literal_symbols);
    make_code(code_lengths + literals, distances, distance_counts, distance_symbols);
}

int take_word(void)
{
    int low;

    low = take_bits(16);
    return low | take_bits(16) << 16;
}

void skip_text(void)
{
    while (need_byte())
        ;
}

/* The rest of a member's header, behind its first byte. */
void take_header(void)
{
    int flags, i, length;

    if (need_byte() != 139 || need_byte() != 8)
        damaged(": is no gzip file");
    flags = need_byte();
    if (flags & 224)
        damaged(": has flags that RFC 1952 does not know");
    for (i = 0; i < 6; i++)
        need_byte();
    if (flags & 4) {
        length = need_byte();
        length = length | need_byte() << 8;
        while (length > 0) {
            need_byte();
            length--;
        }
    }
    if (flags & 8)
        skip_text();
    if (flags & 16)
        skip_text();
    if (flags & 2) {
        need_byte();
        need_byte();
    }
}

void take_member(void)
{
    int last, kind;

    take_header();
    window_at = 0;
    member_size = 0;
    crc = -1;
    bits_held = 0;
    bits_count = 0;
    do {
        last = take_bits(1);
        kind = take_bits(2);
        if (kind == 0)
            take_stored();
        else if (kind == 3)
            damaged(": is damaged: no such kind of block");
        else {
            if (kind == 1)
                use_fixed_codes();
            else
                take_codes();
            take_compressed();
        }
    } while (!last);
    bits_held = 0;
    bits_count = 0;
    if (take_word() != ~crc)
        damaged(": is damaged: its CRC is wrong");
    if (take_word() != member_size)
        damaged(": is damaged: its length is wrong");
}

int main(int argc, char **argv)
{
    int byte;

    program = "gunzip";
    if (argc != 3)
        fail("give the file to unpack and the file to make");
    make_crc_table();
    open_input(argv[1]);
    open_output(argv[2], 420);
    if (next_byte() != 31)
        damaged(": is no gzip file");
    take_member();
    for (byte = next_byte(); byte == 31; byte = next_byte())
        take_member();
    if (byte != END_OF_FILE)
        damaged(": has something behind its end");
    close_output();
    return 0;
}
