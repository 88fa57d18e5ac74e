/* Unpacks a bzip2 file: bunzip2 INPUT OUTPUT. Checks the CRC of each block and of the whole stream.

   The format has no standard; it is that of bzip2 1.0.8. Bits come highest first. A stream is "BZh", a digit (the
   largest block, in units of 100,000 bytes), blocks, and an end. A block is run-length coded, sorted (Burrows and
   Wheeler's transform), written as move-to-front numbers, and these by up to six Huffman codes, which change every 50
   symbols. */
#include "tools.h"

enum { LARGEST_BLOCK = 900000, GROUP = 50, CODES = 6, SELECTORS = 18002 };

unsigned bits_held;
int bits_count;

/* The next bits of the input, the first one highest; count <= 24 */
unsigned take_bits(int count)
{
    for (; bits_count < count; bits_count += 8)
        bits_held = bits_held << 8 | need_byte();
    bits_count -= count;
    return bits_held >> bits_count & ((1 << count) - 1);
}

#include "huffman.h"

unsigned crc_table[256], block_crc, stream_crc;
struct code codes[CODES];
unsigned char in_use[256], front[256], selectors[SELECTORS];
int in_use_count, selector_count;

/* An entry has its byte below and, when the sorting is undone, the place of the next one above. */
unsigned block[LARGEST_BLOCK];
int block_limit, block_size, byte_counts[256];

unsigned take_word(void)
{
    unsigned high = take_bits(16);
    return high << 16 | take_bits(16);
}

void make_crc_table(void)
{
    for (unsigned i = 0; i < 256; i++) {
        crc_table[i] = i << 24;
        for (int k = 0; k < 8; k++)
            crc_table[i] = crc_table[i] << 1 ^ (crc_table[i] >> 31 ? 0x04c11db7 : 0);
    }
}

void put(int byte)
{
    block_crc = block_crc << 8 ^ crc_table[block_crc >> 24 ^ byte];
    write_byte(byte);
}

/* Which bytes the block has: 16 groups of 16. */
void take_bytes_in_use(void)
{
    int groups = take_bits(16);

    in_use_count = 0;
    for (int i = 0; i < 16; i++)
        if (groups >> (15 - i) & 1) {
            int members = take_bits(16);
            for (int k = 0; k < 16; k++)
                if (members >> (15 - k) & 1)
                    in_use[in_use_count++] = i * 16 + k;
        }
    if (in_use_count == 0)
        damaged("is damaged: a block has no bytes");
}

/* The value at a place, which moves to the front. */
int move_to_front(int place)
{
    int value = front[place];

    for (; place > 0; place--)
        front[place] = front[place - 1];
    front[0] = value;
    return value;
}

void reset_front(void)
{
    for (int i = 0; i < 256; i++)
        front[i] = i;
}

/* Which code each group of 50 symbols has, as move-to-front numbers in unary. There may be more of them than groups. */
void take_selectors(int code_count)
{
    int count = take_bits(15);

    if (code_count < 2 || code_count > CODES || count == 0)
        damaged("is damaged: no such number of codes");
    reset_front();
    selector_count = 0;
    while (count-- > 0) {
        int place = 0;
        while (take_bits(1))
            if (++place == code_count)
                damaged("is damaged: no such code");
        int code = move_to_front(place);
        if (selector_count < SELECTORS)
            selectors[selector_count++] = code;
    }
}

void take_code(struct code *code)
{
    int lengths[258], length = take_bits(5);

    for (int i = 0; i < in_use_count + 2; i++) {
        while (take_bits(1))
            length += take_bits(1) ? -1 : 1;
        if (length < 1 || length > CODE_BITS)
            damaged("is damaged: no such length of a code");
        lengths[i] = length;
    }
    make_code(code, lengths, in_use_count + 2);
}

void add_to_block(int byte, int count)
{
    if (count > block_limit - block_size)
        damaged("is damaged: a block is too long");
    byte_counts[byte] += count;
    while (count-- > 0)
        block[block_size++] = byte;
}

/* The sorted block: symbols 0 and 1 are digits of a run of the front byte, others move a byte to the front. */
void take_sorted(void)
{
    int run = 0, digit = 1;

    reset_front();
    memset(byte_counts, 0, sizeof(byte_counts));
    block_size = 0;
    for (int taken = 0;; taken++) {
        if (taken / GROUP == selector_count)
            damaged("is damaged: a block has too few codes");
        int symbol = take_symbol(&codes[selectors[taken / GROUP]]);
        if (symbol < 2) {
            if (digit > 2000000)
                damaged("is damaged: a run is too long");
            run += digit << symbol;
            digit <<= 1;
            continue;
        }
        add_to_block(in_use[front[0]], run);
        run = 0;
        digit = 1;
        if (symbol == in_use_count + 1)
            return;
        add_to_block(in_use[move_to_front(symbol - 1)], 1);
    }
}

/* Undoes the sorting: each entry gets, above its byte, the place of the entry that follows it in the text. */
void link_block(void)
{
    int sum = 0;

    for (int i = 0; i < 256; i++) {
        int count = byte_counts[i];
        byte_counts[i] = sum;
        sum += count;
    }
    for (int i = 0; i < block_size; i++)
        block[byte_counts[block[i] & 255]++] |= i << 8;
}

/* Writes the text from an entry on: four equal bytes are followed by the number of further ones. */
void write_block(int entry)
{
    int equal = 0, last = -1;

    for (int left = block_size; left > 0; left--) {
        entry = block[entry] >> 8;
        int byte = block[entry] & 255;
        if (equal == 4) {
            while (byte-- > 0)
                put(last);
            equal = 0;
            last = -1;
        } else {
            equal = byte == last ? equal + 1 : 1;
            last = byte;
            put(byte);
        }
    }
}

void take_block(void)
{
    unsigned wanted = take_word();

    if (take_bits(1))
        damaged("has a randomised block, as bzip2 0.9 made them");
    int origin = take_bits(24);
    take_bytes_in_use();
    int code_count = take_bits(3);
    take_selectors(code_count);
    for (int i = 0; i < code_count; i++)
        take_code(&codes[i]);
    take_sorted();
    if (origin >= block_size)
        damaged("is damaged: a block begins behind its end");
    link_block();
    block_crc = -1;
    write_block(origin);
    if (~block_crc != wanted)
        damaged("is damaged: a CRC is wrong");
    stream_crc = (stream_crc << 1 | stream_crc >> 31) ^ wanted;
}

/* One stream, behind its first byte. */
void take_stream(void)
{
    if (need_byte() != 'Z' || need_byte() != 'h')
        damaged("is no bzip2 file");
    block_limit = (need_byte() - '0') * 100000;
    if (block_limit < 100000 || block_limit > LARGEST_BLOCK)
        damaged("is no bzip2 file");
    bits_count = 0;
    stream_crc = 0;
    for (;;) {
        unsigned high = take_bits(24), low = take_bits(24);
        if (high == 0x314159 && low == 0x265359)
            take_block();
        else if (high != 0x177245 || low != 0x385090)
            damaged("is damaged: there must be a block or the end");
        else if (take_word() != stream_crc)
            damaged("is damaged: the CRC of the whole is wrong");
        else
            return;
    }
}

int main(int argc, char **argv)
{
    program = "bunzip2";
    if (argc != 3)
        usage("give the file to unpack and the file to make");
    make_crc_table();
    open_input(argv[1]);
    open_output(argv[2], 0644);
    if (getc(input) != 'B')
        damaged("is no bzip2 file");
    int byte;
    do {
        take_stream();
        byte = getc(input);
    } while (byte == 'B');
    if (byte != EOF)
        damaged("has something behind its end");
    close_output();
    return 0;
}
