/* Floating numbers from text, exact: rounded once, to the nearest. */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A long double as the x87 unit keeps it: mantissa with its leading one, exponent biased by 16383, sign */
union parts {
    long double value;
    struct {
        unsigned long long mantissa;
        unsigned short exponent;
    } part;
};

static long double make(unsigned long long mantissa, int exponent, int minus)
{
    union parts parts;

    parts.part.mantissa = mantissa;
    parts.part.exponent = exponent | minus << 15;
    return parts.value;
}

/* The digits are a large integer of 16-bit limbs, least first; powers of ten are multiplied in or divided out. */

enum { LIMBS = 3000 };
static unsigned limbs[LIMBS];
static int limbs_used;

static void multiply_by_ten(unsigned plus)
{
    int i;

    for (i = 0; i < limbs_used; i++) {
        plus += limbs[i] * 10;
        limbs[i] = plus & 65535;
        plus >>= 16;
    }
    if (plus)
        limbs[limbs_used++] = plus;
}

static int divide_by_ten(void)
{
    unsigned rest = 0;
    int i;

    for (i = limbs_used - 1; i >= 0; i--) {
        rest = rest << 16 | limbs[i];
        limbs[i] = rest / 10;
        rest %= 10;
    }
    while (limbs_used && !limbs[limbs_used - 1])
        limbs_used--;
    return rest != 0;
}

static int bit(int position)
{
    return position < 0 ? 0 : limbs[position >> 4] >> (position & 15) & 1;
}

/* limbs * 2^exponent, rounded to a type with that many bits, whose normal numbers begin at 2^least and end before 2^most */
static long double rounded(int exponent, int inexact, int minus, int bits, int least, int most)
{
    unsigned long long mantissa = 0;
    int top = limbs_used * 16 - 1, i;

    if (!limbs_used)
        return make(0, 0, minus);
    while (!bit(top))
        top--;
    if (top + exponent < least)
        bits -= least - top - exponent;
    if (bits < 0)
        return make(0, 0, minus);
    for (i = 0; i < 64; i++)
        mantissa = mantissa << 1 | (i < bits && bit(top - i));
    for (i = top - bits - 1; i >= 0 && !inexact; i--)
        inexact = bit(i);
    exponent += top;
    if (bit(top - bits) && (inexact || (bits && bit(top - bits + 1)))) {
        unsigned long long unit = bits ? 1ULL << (64 - bits) : 0;

        mantissa += unit;
        if (mantissa < unit || !bits) {
            mantissa = 1ULL << 63;
            exponent++;
        }
    }
    if (!mantissa)
        return make(0, 0, minus);
    if (exponent >= most)
        return make(1ULL << 63, 32767, minus);
    if (exponent < -16382)
        return make(mantissa >> (-16382 - exponent), 0, minus);
    return make(mantissa, exponent + 16383, minus);
}

static long double read_float(const char *text, char **end, int bits, int least, int most)
{
    const char *start = text, *at;
    int minus = 0, digits = 0, scale = 0, point = 0, exponent = 0, inexact = 0, raised, i;

    while (isspace(*text))
        text++;
    if (*text == '-' || *text == '+')
        minus = *text++ == '-';
    limbs_used = 0;
    for (; isdigit(*text) || (*text == '.' && !point); text++)
        if (*text == '.')
            point = 1;
        else {
            digits++;
            scale -= point;
            if (limbs_used < 500)
                multiply_by_ten(*text - '0');
            else {
                scale++;
                inexact |= *text != '0';
            }
        }
    if (!digits) {
        if (end)
            *end = (char *)start;
        return 0;
    }
    if ((*text | 32) == 'e') {
        at = text + 1;
        if (*at == '-' || *at == '+')
            at++;
        if (isdigit(*at)) {
            for (; isdigit(*at); at++)
                if (exponent < 10000)
                    exponent = exponent * 10 + *at - '0';
            scale += text[1] == '-' ? -exponent : exponent;
            text = at;
        }
    }
    if (end)
        *end = (char *)text;
    if (scale > 6000)
        scale = 6000;
    if (scale < -8000)
        scale = -8000;
    exponent = 0;
    if (scale < 0 && limbs_used) {
        raised = -scale / 4 + 6;
        for (i = limbs_used - 1; i >= 0; i--)
            limbs[i + raised] = limbs[i];
        memset(limbs, 0, raised * sizeof(limbs[0]));
        limbs_used += raised;
        exponent = -16 * raised;
        for (; scale < 0 && limbs_used; scale++)
            inexact |= divide_by_ten();
    }
    for (; scale > 0 && limbs_used; scale--)
        multiply_by_ten(0);
    return rounded(exponent, inexact, minus, bits, least, most);
}

float strtof(const char *text, char **end)
{
    return read_float(text, end, 24, -126, 128);
}

double strtod(const char *text, char **end)
{
    return read_float(text, end, 53, -1022, 1024);
}

long double strtold(const char *text, char **end)
{
    return read_float(text, end, 64, -16382, 16384);
}

/* Multiplies by powers of two that a long double holds exactly; the double result is rounded once. */
double ldexp(double value, int exponent)
{
    long double result = value;

    if (exponent > 5000)
        exponent = 5000;
    if (exponent < -5000)
        exponent = -5000;
    return result * make(1ULL << 63, exponent + 16383, 0);
}
