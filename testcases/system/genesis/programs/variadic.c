/* Functions with variable arguments, of all sizes */
#include <stdarg.h>
#include "show.h"
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
        case 'd': show(va_arg(list, double)); break;
        case 'L': show(va_arg(list, long double)); break;
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
    printf("%-6s|%6s|%.2s|%.*s|%c|%%|%-4d|%4d|%04d|%04d|%*d|%.3d|%08x|%X|%p\n", "ab", "cd", "efgh", 3, "ijkl", 'x', 7, -7, 7, -7, 5, 7, 7, 0xabcdef, 0xabcdef, (void *)0x1234);
    printf("%ld %lld %u %lu %llu %x\n", -5L, -5LL, -1, -1L, -1LL, 0xabc);
    return 0;
}
