/* SHA-256 of files (FIPS 180-4).

   sha256 FILE...      prints the sum of each file and its name
   sha256 -c SUMS      compares the files that SUMS names with their sums; prints what differs
*/
#include "tools.h"

unsigned constants[] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2
};
unsigned first_state[] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19
};
unsigned state[8];
unsigned char block[64];
unsigned used;      /* bytes of the block */

unsigned rotated(unsigned x, int count)
{
    return x >> count | x << (32 - count);
}

/* Adds the 64 bytes of the block; the names are those of the standard. */
void add_block(void)
{
    unsigned w[64], v[8];

    for (int t = 0; t < 16; t++)
        w[t] = block[t * 4] << 24 | block[t * 4 + 1] << 16 | block[t * 4 + 2] << 8 | block[t * 4 + 3];
    for (int t = 16; t < 64; t++) {
        unsigned x = w[t - 15], y = w[t - 2];
        w[t] = w[t - 16] + (rotated(x, 7) ^ rotated(x, 18) ^ x >> 3) + w[t - 7]
            + (rotated(y, 17) ^ rotated(y, 19) ^ y >> 10);
    }
    memcpy(v, state, sizeof(v));
    for (int t = 0; t < 64; t++) {
        unsigned a = v[0], b = v[1], c = v[2], e = v[4], f = v[5], g = v[6];
        unsigned t1 = v[7] + (rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)) + ((e & f) ^ (~e & g)) + constants[t] + w[t];
        unsigned t2 = (rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        memmove(v + 1, v, sizeof(v) - sizeof(v[0]));
        v[4] += t1;
        v[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++)
        state[i] += v[i];
}

void add_byte(int byte)
{
    block[used++] = byte;
    if (used == 64) {
        add_block();
        used = 0;
    }
}

char sum[65];

/* Leaves the sum of a file in `sum`. */
void sum_file(char *name)
{
    unsigned long long size = 0;
    int byte;

    open_input(name);
    memcpy(state, first_state, sizeof(state));
    used = 0;
    for (; (byte = getc(input)) != EOF; size++)
        add_byte(byte);
    fclose(input);
    add_byte(128);
    while (used != 56)
        add_byte(0);
    for (int i = 56; i >= 0; i -= 8)
        add_byte(size * 8 >> i);
    for (int i = 0; i < 8; i++)
        sprintf(sum + i * 8, "%08x", state[i]);
}

/* Compares files with the sums of a list: lines of a sum, two spaces and a name. The status for exit. */
int check(char *list)
{
    int status = 0;
    char *at = read_file(list);

    for (int line = 1; *at; line++) {
        char *wanted = at, *name = at + 66, *end = strchr(at, '\n');
        int digits = 0;
        while (wanted[digits] && strchr("0123456789abcdef", wanted[digits]))
            digits++;
        if (digits != 64 || strncmp(wanted + 64, "  ", 2) || !end || end == name) {
            fprintf(stderr, "%s:%d: there must be a sum of 64 digits, two spaces and a name\n", list, line);
            return 1;
        }
        *end = wanted[64] = 0;
        at = end + 1;
        sum_file(name);
        if (strcmp(wanted, sum)) {
            printf("%s: has the sha256 %s, not %s\n", name, sum, wanted);
            status = 1;
        }
    }
    return status;
}

int main(int argc, char **argv)
{
    program = "sha256";
    if (argc < 2)
        usage("give files, or -c and a list of sums");
    if (argc == 3 && !strcmp(argv[1], "-c"))
        return check(argv[2]);
    for (int i = 1; i < argc; i++) {
        sum_file(argv[i]);
        printf("%s  %s\n", sum, argv[i]);
    }
    return 0;
}
