/* Constants: types by their value and suffix, characters, expressions that are computed by the compiler */
#include <limits.h>
#include <stdio.h>
enum { A, B = 5, C, D = -2, E, F = sizeof(int) * 2, G = 1 ? 10 : 20, H = (5 > 3) + ('a' == 97) };
static int sizes[] = { sizeof 1, sizeof 1L, sizeof 1LL, sizeof 2147483648, sizeof 0x80000000, sizeof 4294967296, sizeof 1u,
    sizeof 'a', sizeof "abc", sizeof 1.0f, sizeof 1.0, sizeof 1.0L, sizeof(char[7]), sizeof(struct { char c; int i; }) };
static long long folded[] = { 0x7fffffff + 1LL, -1LL >> 1, 1ULL << 63 >> 62, 123456789012345LL * 1000, -7LL / 2, -7LL % 2,
    10000000000LL / 7, 18446744073709551615ULL % 1000, ~0LL, !0LL, -1 > 0u, -1LL < 0u, (char)300, (unsigned char)-1, (short)0x18000,
    3000000000u, -2147483647 - 1, INT_MIN, (5 & 3) | (8 ^ 2), 1 && 0 || 1, 7 / 2 * 2, (int)3.9375, (int)-3.9375, (long long)1e15 };
int main(void)
{
    unsigned i;
    for (i = 0; i < sizeof sizes / sizeof *sizes; i++)
        printf("%d ", sizes[i]);
    for (i = 0; i < sizeof folded / sizeof *folded; i++)
        printf("%lld\n", folded[i]);
    printf("%d %d %d %d %d %d %d %d\n", A, B, C, D, E, F, G, H);
    printf("%d %d %d %d %d %d\n", '\n', '\\', '\'', '\x41', '\101', '\377');
    printf("%s|%d\n", "a\tb\"c\\" "joined" "\x31" "2\0hidden", (int)sizeof "a\0b");
    printf("%d %d %d\n", 010, 0x1F, 1 ? -1 : 0u);
    return B;
}
