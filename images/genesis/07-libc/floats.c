/* Floating numbers from text and to text, both exact: rounded once, to the nearest. */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "format.h"

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

/* From text. The digits are a large integer of 16-bit limbs, least first; powers of ten are multiplied in or divided out. */

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

double atof(const char *text)
{
    return strtod(text, NULL);
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

double fabs(double value)
{
    return value < 0 ? -value : value;
}

float fabsf(float value)
{
    return value < 0 ? -value : value;
}

/* To text. The number is written in base 10000, with a point between WHOLE cells and the rest. */

enum { WHOLE = 1240, CELLS = 5400, CELL = 10000 };
static int cells[CELLS];

static void spread(unsigned long long mantissa, int exponent)
{
    int i, step, carry, first = WHOLE - 5, last = WHOLE;

    memset(cells, 0, sizeof(cells));
    for (i = WHOLE - 1; mantissa; i--) {
        cells[i] = mantissa % CELL;
        mantissa /= CELL;
    }
    for (; exponent > 0; exponent -= step) {
        step = exponent > 13 ? 13 : exponent;
        carry = 0;
        for (i = WHOLE - 1; i >= first || carry; i--) {
            carry += cells[i] << step;
            cells[i] = carry % CELL;
            carry /= CELL;
        }
        if (i + 1 < first)
            first = i + 1;
    }
    for (; exponent < 0; exponent += step) {
        step = exponent < -13 ? 13 : -exponent;
        carry = 0;
        for (i = first; i < last || carry; i++) {
            carry = carry * CELL + cells[i];
            cells[i] = carry >> step;
            carry &= (1 << step) - 1;
        }
        if (i > last)
            last = i;
    }
}

static int digit(int position)
{
    static const int powers[] = {1000, 100, 10, 1};
    int cell = position >> 2;

    return cell < 0 || cell >= CELLS ? 0 : cells[cell] / powers[position & 3] % 10;
}

/* Rounds behind the digit at `position`, to even if it is in the middle. */
static void round_cells(int position)
{
    static const int powers[] = {1000, 100, 10, 1};
    int next = position + 1, i, up, cell;

    if (next < 0 || next >= CELLS * 4)
        return;
    up = digit(next) > 5;
    if (digit(next) == 5) {
        up = digit(position) & 1;
        for (i = next + 1; i < CELLS * 4 && !up; i++)
            up = digit(i) != 0;
    }
    for (i = next; i < CELLS * 4; i++)
        cells[i >> 2] -= digit(i) * powers[i & 3];
    cell = position >> 2;
    for (i = up ? powers[position & 3] : 0; i && cell >= 0; cell--) {
        cells[cell] += i;
        i = cells[cell] / CELL;
        cells[cell] %= CELL;
    }
}

static int first_digit(void)
{
    int i = 0;

    while (i < CELLS && !cells[i])
        i++;
    if (i == CELLS)
        return WHOLE * 4 - 1;
    for (i *= 4; !digit(i); i++)
        ;
    return i;
}

/* The digits of a number as %e, %f or %g write it, without sign */
int format_float(char *to, long double value, int style, int precision, int alternate)
{
    union parts parts;
    char *start = to;
    int exponent, first, i, general = style == 'g', one = WHOLE * 4 - 1;

    parts.value = value;
    exponent = parts.part.exponent & 32767;
    if (exponent == 32767) {
        strcpy(to, parts.part.mantissa << 1 ? "nan" : "inf");
        return 3;
    }
    if (precision < 0)
        precision = 6;
    if (precision > FORMAT_PRECISION)
        precision = FORMAT_PRECISION;
    if (general && precision == 0)
        precision = 1;
    spread(parts.part.mantissa, (exponent ? exponent : 1) - 16383 - 63);
    if (style != 'f')
        round_cells(first_digit() + precision - general);
    first = first_digit();
    exponent = one - first;
    if (general) {
        style = exponent < -4 || exponent >= precision ? 'e' : 'f';
        precision = style == 'e' ? precision - 1 : precision - 1 - exponent;
    } else if (style == 'f')
        round_cells(one + precision);
    if (style == 'f') {
        first = first_digit();
        for (i = first < one ? first : one; i <= one; i++)
            *to++ = '0' + digit(i);
    } else {
        *to++ = '0' + digit(first);
        one = first;
    }
    if (precision || alternate)
        *to++ = '.';
    for (i = 1; i <= precision; i++)
        *to++ = '0' + digit(one + i);
    if (general && !alternate && precision) {
        while (to[-1] == '0')
            to--;
        if (to[-1] == '.')
            to--;
    }
    if (style == 'e') {
        *to++ = 'e';
        *to++ = exponent < 0 ? '-' : '+';
        exponent = abs(exponent);
        if (exponent >= 1000)
            *to++ = '0' + exponent / 1000;
        if (exponent >= 100)
            *to++ = '0' + exponent / 100 % 10;
        *to++ = '0' + exponent / 10 % 10;
        *to++ = '0' + exponent % 10;
    }
    return to - start;
}
