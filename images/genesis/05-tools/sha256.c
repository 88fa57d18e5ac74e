/* SHA-256 of files (FIPS 180-4).

   sha256 FILE...      prints the sum of each file and its name
   sha256 -c SUMS      compares the files that SUMS names with their sums; prints what differs
*/

int sha256_constants[] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2
};
int sha256_state[8];
int sha256_words[64];
char sha256_block[64];

/* x shifted right as an unsigned number; 0 < count < 32 */
int shift_right(int x, int count)
{
    return (x >> count) & (0x7fffffff >> (count - 1));
}

int rotate_right(int x, int count)
{
    return shift_right(x, count) | x << (32 - count);
}

void sha256_begin(void)
{
    sha256_state[0] = 0x6a09e667;
    sha256_state[1] = 0xbb67ae85;
    sha256_state[2] = 0x3c6ef372;
    sha256_state[3] = 0xa54ff53a;
    sha256_state[4] = 0x510e527f;
    sha256_state[5] = 0x9b05688c;
    sha256_state[6] = 0x1f83d9ab;
    sha256_state[7] = 0x5be0cd19;
}

/* Adds the 64 bytes of sha256_block; the names are those of the standard. */
void sha256_add_block(void)
{
    int i, x, a, b, c, d, e, f, g, h, t1, t2;
    char *from;

    from = sha256_block;
    for (i = 0; i < 16; i++) {
        sha256_words[i] = (from[0] & 255) << 24 | (from[1] & 255) << 16 | (from[2] & 255) << 8 | (from[3] & 255);
        from = from + 4;
    }
    while (i < 64) {
        x = sha256_words[i - 15];
        t1 = rotate_right(x, 7) ^ rotate_right(x, 18) ^ shift_right(x, 3);
        x = sha256_words[i - 2];
        t2 = rotate_right(x, 17) ^ rotate_right(x, 19) ^ shift_right(x, 10);
        sha256_words[i] = sha256_words[i - 16] + t1 + sha256_words[i - 7] + t2;
        i++;
    }
    a = sha256_state[0];
    b = sha256_state[1];
    c = sha256_state[2];
    d = sha256_state[3];
    e = sha256_state[4];
    f = sha256_state[5];
    g = sha256_state[6];
    h = sha256_state[7];
    for (i = 0; i < 64; i++) {
        t1 = rotate_right(e, 6) ^ rotate_right(e, 11) ^ rotate_right(e, 25);
        t1 = h + t1 + ((e & f) ^ (~e & g)) + sha256_constants[i] + sha256_words[i];
        t2 = rotate_right(a, 2) ^ rotate_right(a, 13) ^ rotate_right(a, 22);
        t2 = t2 + ((a & b) ^ (a & c) ^ (b & c));
        h = g;
        g = f;
        f = e;
        e = d + t1;
        d = c;
        c = b;
        b = a;
        a = t1 + t2;
    }
    sha256_state[0] += a;
    sha256_state[1] += b;
    sha256_state[2] += c;
    sha256_state[3] += d;
    sha256_state[4] += e;
    sha256_state[5] += f;
    sha256_state[6] += g;
    sha256_state[7] += h;
}

char sha256_hex[65];

/* Leaves the sum of a file in sha256_hex. The file is shorter than 512 MiB. */
void sha256_of(char *name)
{
    int used, size, byte, i, nibble;

    open_input(name);
    sha256_begin();
    used = 0;
    size = 0;
    for (byte = next_byte(); byte != END_OF_FILE; byte = next_byte()) {
        sha256_block[used++] = byte;
        size++;
        if (used == 64) {
            sha256_add_block();
            used = 0;
        }
    }
    close_input();
    if (size > 0x1fffffff)
        fail_with(name, ": is too large");
    sha256_block[used++] = 128;
    if (used > 56) {
        while (used < 64)
            sha256_block[used++] = 0;
        sha256_add_block();
        used = 0;
    }
    while (used < 60)
        sha256_block[used++] = 0;
    size = size << 3;
    for (i = 24; i >= 0; i -= 8)
        sha256_block[used++] = size >> i;
    sha256_add_block();
    for (i = 0; i < 64; i++) {
        nibble = (sha256_state[i / 8] >> (28 - i % 8 * 4)) & 15;
        if (nibble < 10)
            sha256_hex[i] = '0' + nibble;
        else
            sha256_hex[i] = 'a' + nibble - 10;
    }
    sha256_hex[64] = 0;
}

void print(char *text)
{
    write_all(1, text, length_of(text));
}

/* Compares files with the sums of a list: lines of a sum, two spaces and a name. The status for exit. */
int check(char *list)
{
    struct buffer *sums;
    char *at, *end, *sum, *name;
    int status, line;

    sums = read_file(list);
    if (!sums)
        fail_with(list, ": cannot be read");
    put_byte(sums, 0);
    at = sums->buffer_bytes;
    end = at + sums->buffer_used - 1;
    status = 0;
    for (line = 1; at < end; line++) {
        sum = at;
        while (digit_value(*at) < 16 && at - sum < 64)
            at++;
        if (at - sum != 64 || at[0] != ' ' || at[1] != ' ')
            fail_at(list, line, "there must be a sum of 64 digits, two spaces and a name");
        name = at + 2;
        at = name;
        while (*at && *at != '\n')
            at++;
        if (*at != '\n' || at == name)
            fail_at(list, line, "there must be a name, and an end of the line");
        *at++ = 0;
        sha256_of(name);
        if (!equal_bytes(sum, sha256_hex, 64)) {
            print(name);
            print(": has the sha256 ");
            print(sha256_hex);
            print(", not ");
            write_all(1, sum, 64);
            print("\n");
            status = 1;
        }
    }
    return status;
}

int main(int argc, char **argv)
{
    int i;

    program = "sha256";
    if (argc == 3 && equal_bytes(argv[1], "-c", 3))
        return check(argv[2]);
    if (argc < 2)
        fail("give files, or -c and a list of sums");
    for (i = 1; i < argc; i++) {
        sha256_of(argv[i]);
        print(sha256_hex);
        print("  ");
        print(argv[i]);
        print("\n");
    }
    return 0;
}
