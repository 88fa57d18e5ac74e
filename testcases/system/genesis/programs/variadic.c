/* Functions with variable arguments, of all sizes */
#include <stdarg.h>
#include <stdio.h>
struct pair { int a, b; };
static void all(const char *kinds, ...)
{
    va_list list, copy;
    va_start(list, kinds);
    va_copy(copy, list);
    printf("first %d\n", va_arg(copy, int));
    for (; *kinds; kinds++)
        switch (*kinds) {
        case 'i': printf("%d ", va_arg(list, int)); break;
        case 'l': printf("%lld ", va_arg(list, long long)); break;
        case 'd': printf("%g ", va_arg(list, double)); break;
        case 'L': printf("%Lg ", va_arg(list, long double)); break;
        case 's': printf("%s ", va_arg(list, char *)); break;
        case 'p': { struct pair p = va_arg(list, struct pair); printf("%d,%d ", p.a, p.b); break; }
        }
    va_end(list);
    printf("\n");
}
int main(void)
{
    struct pair p = { 3, 4 };
    float f = 1.5f; char c = -1; short s = -2; unsigned char u = 255;
    char buffer[20];
    all("ildLspi", 1, 1LL << 40, 2.5, 3.25L, "text", p, -9);
    all("iiid", c, s, u, f);
    printf("%d %s\n", snprintf(buffer, sizeof buffer, "%s-%05d", "a long one", 42), buffer);
    printf("%d %s|\n", snprintf(buffer, 5, "%d", 123456), buffer);
    printf("%-6s|%6s|%.2s|%c|%%|%5.1f|%-8.3e|%+d|% d|%#x|%#o|%08.3f\n", "ab", "cd", "efgh", 'x', 3.14159, 2.5, 5, 5, 255, 8, -3.14159);
    printf("%hhd %hd %ld %lld %u %lu %llu %x %X %p\n", 300, 70000, -5L, -5LL, -1, -1L, -1LL, 0xabc, 0xabc, (void *)0x1234);
    return 0;
}
