/* Conversions: every type to every other, in assignments, compound assignments, arguments, results and conditions */
#include "show.h"
volatile long long source[] = { 0, 1, -1, 127, 128, 255, 256, -129, 32767, 65535, 65536, 2147483647, -2147483647 - 1, 4294967295LL, 1LL << 40, -(1LL << 40) };
#define EACH(M) M(_Bool, b) M(signed char, sc) M(unsigned char, uc) M(short, s) M(unsigned short, us) M(int, i) M(unsigned, u) M(long long, l) M(unsigned long long, ul)
#define CONVERT(type, name) static type to_##name(long long x) { return x; } static type twice_##name(type x) { x += x; x -= 1; x <<= 1; x ^= 5; return x; }
EACH(CONVERT)
#define SHOW(type, name) printf(#type " %lld %lld %d %d\n", (long long)to_##name(x), (long long)twice_##name((type)x), to_##name(x) ? 1 : 2, !to_##name(x)); show((double)to_##name(x));
static double half(int x) { return x / 2.0; }
static float third(double x) { return x / 3; }
static long long widened(unsigned x) { return x; }
static int narrowed(unsigned long long x) { return x; }
int main(void)
{
    unsigned n;
    volatile double d;
    volatile float f;
    for (n = 0; n < sizeof source / sizeof *source; n++) {
        long long x = source[n];
        EACH(SHOW)
        d = x;
        show(d); f = x; show(f); d = half(x); show(d); f = third(x); show(f); d = x;
        printf("%d %d %lld %d %d\n", (int)(d / 1e4), (short)(d / 1e8), widened(x), narrowed(x), (x > 5) + (x < 0u) + ((unsigned)x > 7));
        { int i = 7; char c = 3; unsigned u = 9; i *= 1.5; i += x; c += x; u -= x; u /= 3; c = c * 2 + i; i = c += 1; printf("%d %d %u\n", i, c, u); }
        { float f = x; f += 1; f /= 2; i: show(f); printf("%d\n", f > 3 ? (int)1 : (int)2.5); }
        { void *p = (void *)&d; int i = (int)p; char *q = (char *)i; printf("%d %d %d\n", q == p, p != 0, (_Bool)p + (_Bool)0.5 + !p); }
        { unsigned char c = x; c++; ++c; c--; printf("%d %d ", c, c >> 1); c = -c; c = ~c; printf("%d\n", c); }
    }
    return 0;
}
