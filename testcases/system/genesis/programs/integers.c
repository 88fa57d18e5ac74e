/* Arithmetic of all integer types, with operands that no compiler knows */
#include <stdio.h>
volatile int zero;
#define SHOW(type, format, x, y) do { type a = (type)(x) + zero, b = (type)(y) + zero; \
    printf(#type " " format " " format " " format " " format " " format " %d%d%d%d%d%d\n", \
           a + b, a - b, a * b, b ? a / b : 0, b ? a % b : 0, a < b, a <= b, a > b, a >= b, a == b, a != b); \
    printf(format " " format " " format " " format " " format " %d\n", a & b, a | b, a ^ b, ~a, -a, !a); \
    printf(format " " format "\n", (type)(a << 3), (type)(a >> 3)); } while (0)
#define ALL(x, y) SHOW(signed char, "%d", x, y); SHOW(unsigned char, "%d", x, y); SHOW(short, "%d", x, y); \
    SHOW(unsigned short, "%d", x, y); SHOW(int, "%d", x, y); SHOW(unsigned, "%u", x, y); SHOW(long, "%ld", x, y); \
    SHOW(unsigned long, "%lu", x, y)
#define WIDE(x, y) SHOW(long long, "%lld", x, y); SHOW(unsigned long long, "%llu", x, y)

static long long shift(long long x, int n) { return x << n; }
static long long right(long long x, int n) { return x >> n; }
static unsigned long long logical(unsigned long long x, int n) { return x >> n; }

int main(void)
{
    int n;
    ALL(5, 3); ALL(-5, 3); ALL(77, -13); ALL(0, 9); ALL(300, 300); ALL(-32768, 255); ALL(123456789, -1);
    WIDE(5, 3); WIDE(-5, 3); WIDE(1234567890123LL, -7); WIDE(-9876543210987LL, 4294967296LL);
    WIDE(0x7fffffffffffffffLL, 2); WIDE(-1, 0x100000001LL); WIDE(4294967295U, 4294967297LL);
    for (n = 0; n < 64; n += 7)
        printf("%llx %llx %llx\n", shift(0x123456789abcdefLL, n), right(-0x123456789abcdefLL, n), logical(-3, n));
    printf("%d %d %d\n", (char)200, (unsigned char)-1, (short)70000);
    printf("%d %d\n", -1 < 0u, (unsigned char)255 < -1);
    printf("%u %d\n", 4000000000u / 7 + zero, (int)(4000000000u % 7) + zero);
    return 0;
}
