/* Huffman codes as gzip and bzip2 have them, where those of one length follow each other, and those of the next length
   begin behind them (RFC 1951, 3.2.2). The program that includes this has take_bits. */
enum { CODE_BITS = 20, CODE_SYMBOLS = 288 };

struct code {
    int counts[CODE_BITS + 1];      /* how many codes there are of each length */
    int symbols[CODE_SYMBOLS];      /* in the order of their codes */
};

/* Makes the code in which symbol i has lengths[i] bits, of at most CODE_BITS. */
void make_code(struct code *code, int *lengths, int symbols)
{
    int left = 1, place = 0;

    for (int length = 1; length <= CODE_BITS; length++) {
        code->counts[length] = 0;
        for (int i = 0; i < symbols; i++)
            if (lengths[i] == length) {
                code->counts[length]++;
                code->symbols[place++] = i;
            }
        left = left * 2 - code->counts[length];
        if (left < 0)
            damaged("is damaged: a code has too many words");
    }
}

int take_symbol(struct code *code)
{
    int word = 0, first = 0, place = 0;

    for (int length = 1; length <= CODE_BITS; length++) {
        word |= take_bits(1);
        if (word - first < code->counts[length])
            return code->symbols[place + word - first];
        place += code->counts[length];
        first = (first + code->counts[length]) << 1;
        word <<= 1;
    }
    damaged("is damaged: no such code");
    return 0;
}
