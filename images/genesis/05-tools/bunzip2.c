/* Unpacks a bzip2 file: bunzip2 INPUT OUTPUT. Checks the CRC of each block and of the whole stream.

   The format has no standard; it is that of bzip2 1.0.8. Bits come highest first. A stream is "BZh", a digit (the
   largest block, in units of 100,000 bytes), blocks, and an end. A block is run-length coded, sorted (Burrows and
   Wheeler's transform), written as move-to-front numbers, and these by up to six Huffman codes, which change every 50
   symbols. */

enum { CODE_BITS = 20, GROUP = 50, CODES = 6, SYMBOLS = 258 };

int bits_held;
int bits_count;
int crc_table[256];
int block_crc;
int stream_crc;
int block_limit;

int in_use[256];
int in_use_count;
int front[256];

int selectors[18002];
int selector_count;
int code_count;

/* Code c has its lengths from c * SYMBOLS on; the same for the sorted symbols. Limits and bases by length. */
int code_lengths[1548];
int code_symbols[1548];
int code_counts[126];

int block_size;
int block_origin;
int *block;
int byte_counts[257];

void damaged(char *message)
{
    fail_with(input_name, message);
}

/* The next bits of the input, the first one highest; count <= 24 */
int take_bits(int count)
{
    while (bits_count < count) {
        bits_held = (bits_held << 8) | need_byte();
        bits_count += 8;
    }
    bits_count -= count;
    return (bits_held >> bits_count) & ((1 << count) - 1);
}

int take_word(void)
{
    int high;

    high = take_bits(16);
    return high << 16 | take_bits(16);
}

void make_crc_table(void)
{
    int i, k, value;

    for (i = 0; i < 256; i++) {
        value = i << 24;
        for (k = 0; k < 8; k++)
            if (value < 0)
                value = value << 1 ^ 0x04c11db7;
            else
                value = value << 1;
        crc_table[i] = value;
    }
}

void put(int byte)
{
    block_crc = block_crc << 8 ^ crc_table[((block_crc >> 24) ^ byte) & 255];
    write_byte(byte);
}

/* Which bytes the block has: 16 groups of 16. */
void take_bytes_in_use(void)
{
    int groups, members, i, k;

    groups = take_bits(16);
    in_use_count = 0;
    for (i = 0; i < 16; i++)
        if (groups >> (15 - i) & 1) {
            members = take_bits(16);
            for (k = 0; k < 16; k++)
                if (members >> (15 - k) & 1)
                    in_use[in_use_count++] = i * 16 + k;
        }
    if (in_use_count == 0)
        damaged(": is damaged: a block has no bytes");
}

/* Which code each group of 50 symbols has, as move-to-front numbers in unary. */
void take_selectors(void)
{
    int i, k, code;

    code_count = take_bits(3);
    selector_count = take_bits(15);
    if (code_count < 2 || code_count > CODES || selector_count == 0)
        damaged(": is damaged: no such number of codes");
    for (i = 0; i < CODES; i++)
        front[i] = i;
    for (i = 0; i < selector_count; i++) {
        k = 0;
        while (take_bits(1)) {
            k++;
            if (k == code_count)
                damaged(": is damaged: no such code");
        }
        code = front[k];
        while (k > 0) {
            front[k] = front[k - 1];
            k--;
        }
        front[0] = code;
        if (i < 18002)
            selectors[i] = code;
    }
    if (selector_count > 18002)
        selector_count = 18002;
}

void take_codes(int symbols)
{
    int code, i, length, place, *lengths, *counts;

    for (code = 0; code < code_count; code++) {
        lengths = code_lengths + code * SYMBOLS;
        counts = code_counts + code * (CODE_BITS + 1);
        for (i = 0; i <= CODE_BITS; i++)
            counts[i] = 0;
        length = take_bits(5);
        for (i = 0; i < symbols; i++) {
            while (take_bits(1))
                if (take_bits(1))
                    length--;
                else
                    length++;
            if (length < 1 || length > CODE_BITS)
                damaged(": is damaged: no such length of a code");
            lengths[i] = length;
            counts[length]++;
        }
        place = 0;
        for (length = 1; length <= CODE_BITS; length++)
            for (i = 0; i < symbols; i++)
                if (lengths[i] == length)
                    code_symbols[code * SYMBOLS + place++] = i;
    }
}

int take_symbol(int code)
{
    int word, first, place, length, *counts;

    counts = code_counts + code * (CODE_BITS + 1);
    word = 0;
    first = 0;
    place = 0;
    for (length = 1; length <= CODE_BITS; length++) {
        word = word | take_bits(1);
        if (word - first < counts[length])
            return code_symbols[code * SYMBOLS + place + word - first];
        place += counts[length];
        first = (first + counts[length]) << 1;
        word = word << 1;
    }
    damaged(": is damaged: no such code");
    return 0;
}

void add_to_block(int byte, int count)
{
    if (count > block_limit - block_size)
        damaged(": is damaged: a block is too long");
    byte_counts[byte] += count;
    while (count > 0) {
        block[block_size++] = byte;
        count--;
    }
}

/* The sorted block: symbols 0 and 1 are digits of a run of the front byte, others move a byte to the front. */
void take_sorted(void)
{
    int symbols, group, left, symbol, run, digit, byte, i;

    symbols = in_use_count + 2;
    for (i = 0; i < 256; i++) {
        front[i] = i;
        byte_counts[i] = 0;
    }
    block_size = 0;
    group = -1;
    left = 0;
    run = 0;
    digit = 1;
    for (;;) {
        if (left == 0) {
            group++;
            if (group == selector_count)
                damaged(": is damaged: a block has too few codes");
            left = GROUP;
        }
        left--;
        symbol = take_symbol(selectors[group]);
        if (symbol < 2) {
            if (digit > 2000000)
                damaged(": is damaged: a run is too long");
            run += digit << symbol;
            digit = digit << 1;
        } else {
            if (run > 0) {
                add_to_block(in_use[front[0]], run);
                run = 0;
                digit = 1;
            }
            if (symbol == symbols - 1)
                return;
            i = symbol - 1;
            byte = front[i];
            while (i > 0) {
                front[i] = front[i - 1];
                i--;
            }
            front[0] = byte;
            add_to_block(in_use[byte], 1);
        }
    }
}

/* Undoes the sorting: each entry gets, above its byte, the place of the entry that follows it in the text. */
void link_block(void)
{
    int i, sum, count, byte;

    sum = 0;
    for (i = 0; i < 256; i++) {
        count = byte_counts[i];
        byte_counts[i] = sum;
        sum += count;
    }
    for (i = 0; i < block_size; i++) {
        byte = block[i] & 255;
        block[byte_counts[byte]] = block[byte_counts[byte]] | i << 8;
        byte_counts[byte]++;
    }
}

/* Writes the text: four equal bytes are followed by the number of further ones. */
void write_block(void)
{
    int at, left, byte, last, equal;

    at = (block[block_origin] >> 8) & 0xffffff;
    equal = 0;
    last = -1;
    for (left = block_size; left > 0; left--) {
        byte = block[at] & 255;
        at = (block[at] >> 8) & 0xffffff;
        if (equal == 4) {
            while (byte > 0) {
                put(last);
                byte--;
            }
            equal = 0;
            last = -1;
        } else {
            if (byte == last)
                equal++;
            else
                equal = 1;
            last = byte;
            put(byte);
        }
    }
}

void take_block(void)
{
    int wanted;

    wanted = take_word();
    if (take_bits(1))
        damaged(": has a randomised block, as bzip2 0.9 made them");
    block_origin = take_bits(24);
    take_bytes_in_use();
    take_selectors();
    take_codes(in_use_count + 2);
    take_sorted();
    if (block_origin >= block_size)
        damaged(": is damaged: a block begins behind its end");
    link_block();
    block_crc = -1;
    write_block();
    block_crc = ~block_crc;
    if (block_crc != wanted)
        damaged(": is damaged: a CRC is wrong");
    stream_crc = (stream_crc << 1 | (stream_crc >> 31 & 1)) ^ block_crc;
}

/* One stream, behind its first byte. */
void take_stream(void)
{
    int high, low;

    if (need_byte() != 'Z' || need_byte() != 'h')
        damaged(": is no bzip2 file");
    block_limit = (need_byte() - '0') * 100000;
    if (block_limit < 100000 || block_limit > 900000)
        damaged(": is no bzip2 file");
    bits_count = 0;
    stream_crc = 0;
    for (;;) {
        high = take_bits(24);
        low = take_bits(24);
        if (high == 0x314159 && low == 0x265359)
            take_block();
        else if (high == 0x177245 && low == 0x385090) {
            if (take_word() != stream_crc)
                damaged(": is damaged: the CRC of the whole is wrong");
            return;
        } else
            damaged(": is damaged: there must be a block or the end");
    }
}

int main(int argc, char **argv)
{
    int byte;

    program = "bunzip2";
    if (argc != 3)
        fail("give the file to unpack and the file to make");
    make_crc_table();
    block = (int *)allocate(900000 * sizeof(int));
    open_input(argv[1]);
    open_output(argv[2], 420);
    if (next_byte() != 'B')
        damaged(": is no bzip2 file");
    take_stream();
    for (byte = next_byte(); byte == 'B'; byte = next_byte())
        take_stream();
    if (byte != END_OF_FILE)
        damaged(": has something behind its end");
    close_output();
    return 0;
}
