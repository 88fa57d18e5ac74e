/* Numbers that an int of this compiler does not hold: 64-bit integers as a low and a high word, and floating constants. */

/* 64-bit results are left here. */
int low_word;
int high_word;

void set64(int low, int high)
{
    low_word = low;
    high_word = high;
}

void add64(int a, int a_high, int b, int b_high)
{
    int sum;

    sum = a + b;
    set64(sum, a_high + b_high + below(sum, a));
}

void negate64(int a, int a_high)
{
    set64(-a, ~a_high + (a == 0));
}

void subtract64(int a, int a_high, int b, int b_high)
{
    set64(a - b, a_high - b_high - below(a, b));
}

/* a * b of two unsigned words, by halves */
void multiply_words(int a, int b)
{
    int a0, a1, b0, b1, low, middle, carry;

    a0 = a & 65535;
    a1 = a >> 16 & 65535;
    b0 = b & 65535;
    b1 = b >> 16 & 65535;
    low = a0 * b0;
    middle = a1 * b0;
    carry = below(middle + a0 * b1, middle);
    middle = middle + a0 * b1;
    set64(low + (middle << 16), a1 * b1 + (middle >> 16 & 65535) + (carry << 16) + below(low + (middle << 16), low));
}

void multiply64(int a, int a_high, int b, int b_high)
{
    multiply_words(a, b);
    high_word = high_word + a * b_high + a_high * b;
}

int below64(int a, int a_high, int b, int b_high)
{
    if (a_high != b_high)
        return below(a_high, b_high);
    return below(a, b);
}

/* The quotient of unsigned numbers is left in low_word and high_word, the rest here. */
int rest_low;
int rest_high;

void divide_unsigned64(int a, int a_high, int b, int b_high)
{
    int quotient, quotient_high, i, top;

    rest_low = 0;
    rest_high = 0;
    quotient = 0;
    quotient_high = 0;
    for (i = 0; i < 64; i++) {
        top = rest_high < 0;
        rest_high = rest_high << 1 | (rest_low >> 31 & 1);
        rest_low = rest_low << 1 | (a_high >> 31 & 1);
        a_high = a_high << 1 | (a >> 31 & 1);
        a = a << 1;
        quotient_high = quotient_high << 1 | (quotient >> 31 & 1);
        quotient = quotient << 1;
        if (top || !below64(rest_low, rest_high, b, b_high)) {
            subtract64(rest_low, rest_high, b, b_high);
            rest_low = low_word;
            rest_high = high_word;
            quotient = quotient | 1;
        }
    }
    set64(quotient, quotient_high);
}

/* Quotient and rest as divide_unsigned64 leaves them, with the signs of C. */
void divide_signed64(int a, int a_high, int b, int b_high)
{
    int negative, rest_negative;

    negative = (a_high ^ b_high) < 0;
    rest_negative = a_high < 0;
    if (a_high < 0) {
        negate64(a, a_high);
        a = low_word;
        a_high = high_word;
    }
    if (b_high < 0) {
        negate64(b, b_high);
        b = low_word;
        b_high = high_word;
    }
    divide_unsigned64(a, a_high, b, b_high);
    a = low_word;
    a_high = high_word;
    if (rest_negative) {
        negate64(rest_low, rest_high);
        rest_low = low_word;
        rest_high = high_word;
    }
    if (negative)
        negate64(a, a_high);
    else
        set64(a, a_high);
}

void shift_left64(int a, int a_high, int count)
{
    count = count & 63;
    if (count >= 32)
        set64(0, a << (count - 32));
    else if (count)
        set64(a << count, a_high << count | (a >> (32 - count) & ((1 << count) - 1)));
    else
        set64(a, a_high);
}

void shift_right64(int a, int a_high, int count, int is_unsigned)
{
    count = count & 63;
    set64(a, a_high);
    while (count > 0) {
        low_word = (low_word >> 1 & 0x7fffffff) | high_word << 31;
        high_word = high_word >> 1;
        if (is_unsigned)
            high_word = high_word & 0x7fffffff;
        count--;
    }
}

/* Floating constants are kept as x87 extended numbers in three words: mantissa (low, high) with its leading one written
   out, then sign and exponent (biased by 16383, or 0 for denormal numbers, which have no leading one). A constant is
   turned into a large integer of 16-bit limbs, least first, from which the mantissa is cut, rounded to nearest even. */

int float_low;
int float_high;
int float_exponent;

enum { LIMBS = 3000, DIGITS_LIMIT = 2000, EXPONENT_LIMIT = 6000 };

int limbs[LIMBS];
int limbs_used;

void limbs_multiply(int factor, int plus)
{
    int i;

    for (i = 0; i < limbs_used; i++) {
        plus = limbs[i] * factor + plus;
        limbs[i] = plus & 65535;
        plus = plus >> 16;
    }
    if (plus) {
        if (limbs_used == LIMBS)
            fail("floating constant too long");
        limbs[limbs_used++] = plus;
    }
}

/* The rest of the division by ten */
int limbs_divide_by_ten(void)
{
    int i, rest;

    rest = 0;
    for (i = limbs_used - 1; i >= 0; i--) {
        rest = rest << 16 | limbs[i];
        limbs[i] = rest / 10;
        rest = rest % 10;
    }
    while (limbs_used && !limbs[limbs_used - 1])
        limbs_used--;
    return rest;
}

/* Opens `count` limbs of zeros below the number. */
void limbs_raise(int count)
{
    int i;

    if (limbs_used + count > LIMBS)
        fail("floating constant too long");
    for (i = limbs_used - 1; i >= 0; i--)
        limbs[i + count] = limbs[i];
    for (i = 0; i < count; i++)
        limbs[i] = 0;
    limbs_used += count;
}

int limb_bit(int position)
{
    if (position < 0)
        return 0;
    return limbs[position >> 4] >> (position & 15) & 1;
}

/* Sets the float words to limbs * 2^exponent, rounded to `bits` bits of mantissa, `inexact` if the limbs lack a rest.
   Numbers below 2^least lose bits, as denormal ones have fewer; those from 2^most on are infinite. */
void round_limbs(int exponent, int inexact, int bits, int least, int most)
{
    int top, i, round;

    float_low = 0;
    float_high = 0;
    float_exponent = 0;
    if (!limbs_used)
        return;
    top = limbs_used * 16 - 1;
    while (!limb_bit(top))
        top--;
    if (top + exponent < least)
        bits -= least - top - exponent;
    for (i = 0; i < 64; i++) {
        shift_left64(float_low, float_high, 1);
        set64(low_word | (i < bits && limb_bit(top - i)), high_word);
        float_low = low_word;
        float_high = high_word;
    }
    round = bits >= 0 && limb_bit(top - bits);
    if (bits < 0)
        inexact = YES;
    for (i = top - bits - 1; i >= 0 && !inexact; i--)
        inexact = limb_bit(i);
    exponent += top;
    if (round && (inexact || (bits > 0 && limb_bit(top - bits + 1)))) {
        shift_left64(1, 0, 64 - bits);
        if (bits == 64)
            set64(1, 0);
        if (bits == 0)
            set64(0, 0);
        add64(float_low, float_high, low_word, high_word);
        if (below64(low_word, high_word, float_low, float_high) || bits == 0) {
            low_word = 0;
            high_word = -2147483647 - 1;
            exponent++;
        }
        float_low = low_word;
        float_high = high_word;
    }
    if (exponent >= most) {
        float_low = 0;
        float_high = -2147483647 - 1;
        exponent = 16384;
    }
    if (exponent < -16382) {
        shift_right64(float_low, float_high, -16382 - exponent, YES);
        float_low = low_word;
        float_high = high_word;
    } else if (float_low | float_high)
        float_exponent = exponent + 16383;
}

/* Rounds to what a floating type of `size` bytes (4, 8, 12) holds. */
void round_to_size(int exponent, int inexact, int size)
{
    if (size == 4)
        round_limbs(exponent, inexact, 24, -126, 128);
    else if (size == 8)
        round_limbs(exponent, inexact, 53, -1022, 1024);
    else
        round_limbs(exponent, inexact, 64, -16382, 16384);
}

/* The digits of a floating constant go to the limbs, from text[0] on. What they are to be multiplied with, as a power of
   the base (of two if it is 16), is left in float_scale. The result is where the exponent's letter or the end is. */
int float_scale;

int read_mantissa(char *text, int length, int base)
{
    int i, after_point;

    limbs_used = 0;
    float_scale = 0;
    after_point = 0;
    for (i = 0; i < length && (digit_value(text[i]) < base || (text[i] == '.' && !after_point)); i++)
        if (text[i] == '.')
            after_point = base == 16 ? 4 : 1;
        else {
            limbs_multiply(base, digit_value(text[i]));
            float_scale -= after_point;
        }
    return i;
}

/* Adds the exponent at text[i], behind its letter, to float_scale. */
void read_exponent(char *text, int i, int length)
{
    int exponent, negative;

    negative = i < length && text[i] == '-';
    if (i < length && (text[i] == '-' || text[i] == '+'))
        i++;
    if (i == length || !is_digit(text[i]))
        fail("digits of an exponent expected");
    exponent = 0;
    while (i < length && is_digit(text[i])) {
        exponent = exponent * 10 + text[i++] - '0';
        if (exponent > EXPONENT_LIMIT)
            exponent = EXPONENT_LIMIT;
    }
    if (i < length)
        fail_about("floating constant not understood: ", text, length, "");
    if (negative)
        float_scale -= exponent;
    else
        float_scale += exponent;
}

/* Reads a floating constant of `length` characters for a type of `size` bytes. */
void decimal_float(char *text, int length, int size)
{
    int i, exponent, inexact, raised;

    if (length > DIGITS_LIMIT)
        fail("floating constant too long");
    i = read_mantissa(text, length, 10);
    if (i < length && (text[i] == 'e' || text[i] == 'E'))
        read_exponent(text, i + 1, length);
    else if (i < length)
        fail_about("floating constant not understood: ", text, length, "");
    exponent = 0;
    inexact = NO;
    if (float_scale < 0) {
        raised = -float_scale / 4 + 6;
        limbs_raise(raised);
        exponent = -16 * raised;
        while (float_scale < 0 && limbs_used) {
            if (limbs_divide_by_ten())
                inexact = YES;
            float_scale++;
        }
    }
    while (float_scale > 0 && limbs_used) {
        limbs_multiply(10, 0);
        float_scale--;
    }
    round_to_size(exponent, inexact, size);
}

/* The same for a hexadecimal one, behind its 0x */
void hexadecimal_float(char *text, int length, int size)
{
    int i;

    if (length > DIGITS_LIMIT)
        fail("floating constant too long");
    i = read_mantissa(text, length, 16);
    if (i == length || (text[i] != 'p' && text[i] != 'P'))
        fail_about("floating constant not understood: ", text, length, "");
    read_exponent(text, i + 1, length);
    round_to_size(float_scale, NO, size);
}

/* Sets the float words to an unsigned 64-bit integer times 2^exponent. */
void limbs_from64(int low, int high, int exponent, int size)
{
    limbs[0] = low & 65535;
    limbs[1] = low >> 16 & 65535;
    limbs[2] = high & 65535;
    limbs[3] = high >> 16 & 65535;
    limbs_used = 4;
    if (!low && !high)
        limbs_used = 0;
    round_to_size(exponent, NO, size);
}

void float_from64(int low, int high, int is_unsigned, int size)
{
    int sign;

    sign = 0;
    if (!is_unsigned && high < 0) {
        negate64(low, high);
        low = low_word;
        high = high_word;
        sign = 32768;
    }
    limbs_from64(low, high, 0, size);
    float_exponent = float_exponent | sign;
}

/* Rounds the number in the float words to the precision of a type. */
void round_float(int size)
{
    int sign, exponent;

    sign = float_exponent & 32768;
    exponent = float_exponent & 32767;
    if (exponent != 32767)
        limbs_from64(float_low, float_high, (exponent ? exponent : 1) - 16383 - 63, size);
    float_exponent = float_exponent | sign;
}

/* Turns the float words into the bytes of a type of `size` bytes: low_word and high_word, and float_exponent for 12. */
void pack_float(int size)
{
    int exponent, bits, bias, sign;

    set64(float_low, float_high);
    if (size == 12)
        return;
    bits = size == 4 ? 24 : 53;
    bias = size == 4 ? 127 : 1023;
    sign = float_exponent & 32768 ? 1 : 0;
    exponent = (float_exponent & 32767) - 16383 + bias;
    if ((float_exponent & 32767) == 32767)
        exponent = 2 * bias + 1;
    if (!float_low && !float_high)
        exponent = 0;
    if (exponent < 0 || (exponent == 0 && (float_low | float_high))) {
        if (exponent < -60)
            exponent = -60;
        shift_right64(low_word, high_word, 1 - exponent, YES);
        exponent = 0;
    }
    shift_right64(low_word, high_word, 64 - bits, YES);
    if (size == 4)
        set64((low_word & 0x7fffff) | exponent << 23 | sign << 31, 0);
    else
        set64(low_word, (high_word & 0xfffff) | exponent << 20 | sign << 31);
}
