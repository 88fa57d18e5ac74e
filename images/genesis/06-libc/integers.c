/* Integers: division of 64 bits and conversions for which cc calls functions, numbers from text, sorting. */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#ifdef __CC__
/* cc has no instructions for these, so they do without them: bit by bit where the divisor needs more than 32 bits. */

static unsigned long long divide(unsigned long long a, unsigned long long b, unsigned long long *rest)
{
    unsigned long long quotient = 0, r = 0;
    int i;

    if (!(a >> 32) && !(b >> 32)) {
        *rest = (unsigned)a % (unsigned)b;
        return (unsigned)a / (unsigned)b;
    }
    for (i = 63; i >= 0; i--) {
        int top = r >> 63;

        r = r << 1 | (a >> i & 1);
        if (top || r >= b) {
            r -= b;
            quotient |= 1ULL << i;
        }
    }
    *rest = r;
    return quotient;
}

unsigned long long __udivdi3(unsigned long long a, unsigned long long b)
{
    unsigned long long rest;

    return divide(a, b, &rest);
}

unsigned long long __umoddi3(unsigned long long a, unsigned long long b)
{
    unsigned long long rest;

    divide(a, b, &rest);
    return rest;
}

long long __divdi3(long long a, long long b)
{
    unsigned long long rest, quotient = divide(a < 0 ? -a : a, b < 0 ? -b : b, &rest);

    return (a < 0) != (b < 0) ? -quotient : quotient;
}

long long __moddi3(long long a, long long b)
{
    unsigned long long rest;

    divide(a < 0 ? -a : a, b < 0 ? -b : b, &rest);
    return a < 0 ? -rest : rest;
}

unsigned long long __fixunsxfdi(long double value)
{
    if (value >= 9223372036854775808.0L)
        return (unsigned long long)(long long)(value - 9223372036854775808.0L) ^ 1ULL << 63;
    return (long long)value;
}

long double __floatundixf(unsigned long long value)
{
    long double result = (long long)value;

    return result < 0 ? result + 2 * 9223372036854775808.0L : result;
}
#endif

static int digit_value(int c)
{
    return isdigit(c) ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'z' ? (c | 32) - 'a' + 10 : 99;
}

/* The number in text, and its sign; `limit` is the largest number for each sign. */
static unsigned long long read_number(const char *text, char **end, int base, unsigned long long positive,
                                      unsigned long long negative)
{
    const char *start = text;
    unsigned long long value = 0, limit;
    int minus = 0, digit, digits = 0, overflow = 0;

    while (isspace(*text))
        text++;
    if (*text == '-' || *text == '+')
        minus = *text++ == '-';
    if ((base == 0 || base == 16) && text[0] == '0' && (text[1] | 32) == 'x' && digit_value(text[2]) < 16) {
        text += 2;
        base = 16;
    } else if (base == 0)
        base = *text == '0' ? 8 : 10;
    limit = minus ? negative : positive;
    for (;; text++, digits++) {
        digit = digit_value(*text);
        if (digit >= base)
            break;
        if (value > (limit - digit) / base)
            overflow = 1;
        value = value * base + digit;
    }
    if (end)
        *end = (char *)(digits ? text : start);
    if (overflow) {
        errno = ERANGE;
        return positive == ULLONG_MAX || positive == ULONG_MAX || !minus ? limit : -limit;
    }
    return minus ? -value : value;
}

long strtol(const char *text, char **end, int base)
{
    return read_number(text, end, base, LONG_MAX, LONG_MAX + 1ULL);
}

unsigned long strtoul(const char *text, char **end, int base)
{
    return read_number(text, end, base, ULONG_MAX, ULONG_MAX);
}

long long strtoll(const char *text, char **end, int base)
{
    return read_number(text, end, base, LLONG_MAX, LLONG_MAX + 1ULL);
}

unsigned long long strtoull(const char *text, char **end, int base)
{
    return read_number(text, end, base, ULLONG_MAX, ULLONG_MAX);
}

int atoi(const char *text)
{
    return strtol(text, NULL, 10);
}

/* Sorts by merging: equal elements keep their order. */
void qsort(void *base, size_t count, size_t size, int (*compare)(const void *, const void *))
{
    size_t half = count / 2, i = 0, j = half, k = 0;
    char *from = base, *sorted;

    if (count < 2)
        return;
    qsort(from, half, size, compare);
    qsort(from + half * size, count - half, size, compare);
    sorted = malloc(count * size);
    while (i < half || j < count)
        if (j == count || (i < half && compare(from + i * size, from + j * size) <= 0))
            memcpy(sorted + k++ * size, from + i++ * size, size);
        else
            memcpy(sorted + k++ * size, from + j++ * size, size);
    memcpy(from, sorted, count * size);
    free(sorted);
}
