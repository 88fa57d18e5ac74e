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
    int sum = a + b;
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
    int a0 = a & 65535;
    int a1 = a >> 16 & 65535;
    int b0 = b & 65535;
    int b1 = b >> 16 & 65535;
    int low = a0 * b0;
    int middle = a1 * b0;
    int carry = below(middle + a0 * b1, middle);
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
    int i;

    rest_low = 0;
    rest_high = 0;
    int quotient = 0;
    int quotient_high = 0;
    for (i = 0; i < 64; i++) {
        int top = rest_high < 0;
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

void absolute64(int a, int a_high)
{
    set64(a, a_high);
    if (a_high < 0)
        negate64(a, a_high);
}

/* Quotient and rest as divide_unsigned64 leaves them, with the signs of C. */
void divide_signed64(int a, int a_high, int b, int b_high)
{
    absolute64(b, b_high);
    int divisor = low_word, divisor_high = high_word;
    absolute64(a, a_high);
    divide_unsigned64(low_word, high_word, divisor, divisor_high);
    int quotient = low_word, quotient_high = high_word;
    if (a_high < 0) {
        negate64(rest_low, rest_high);
        rest_low = low_word;
        rest_high = high_word;
    }
    set64(quotient, quotient_high);
    if ((a_high ^ b_high) < 0)
        negate64(quotient, quotient_high);
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

/* Appends a digit to a number of that base, which must stay below 2^64. */
void append_digit(int low, int high, int base, int digit)
{
    multiply64(low, high, base, 0);
    add64(low_word, high_word, digit, 0);
    int new_low = low_word, new_high = high_word;
    divide_unsigned64(new_low, new_high, base, 0);
    if (low_word != low || high_word != high)
        fail("number too large");
    set64(new_low, new_high);
}

/* Floating constants are kept as x87 extended numbers in three words: mantissa (low, high) with its leading one written
   out, then sign and exponent, biased by 16383. Those are known that 64 bits hold exactly: tcc has no others. */

int float_low;
int float_high;
int float_exponent;

/* Sets the float words to an unsigned integer times 2^exponent, rounded to nearest even for a type of `size` bytes. */
void make_float(int low, int high, int exponent, int sign, int size)
{
    int bits = size == 4 ? 24 : size == 8 ? 53 : 64;
    float_low = 0;
    float_high = 0;
    float_exponent = sign;
    if (!low && !high)
        return;
    exponent += 63 + 16383;
    for (; high >= 0; exponent--) {
        shift_left64(low, high, 1);
        low = low_word;
        high = high_word;
    }
    if (bits < 64) {
        shift_left64(low, high, bits);
        int half = high_word < 0, rest = (high_word & 0x7fffffff) | low_word;
        shift_right64(low, high, 64 - bits, YES);
        add64(low_word, high_word, half && (rest || (low_word & 1)), 0);
        shift_left64(low_word, high_word, 64 - bits);
        low = low_word;
        high = high_word;
        if (!low && !high) {
            high = -2147483647 - 1;
            exponent++;
        }
    }
    if (exponent <= 0 || exponent >= 32767)
        fail("floating constant out of range");
    float_low = low;
    float_high = high;
    float_exponent = sign | exponent;
}

/* Reads a floating constant of `length` characters, behind its 0x if the base is 16, for a type of `size` bytes. */
void read_float(char *text, int length, int base, int size)
{
    int low = 0, high = 0, scale = 0, after_point = 0, zeros = 0, i = 0;
    for (; i < length && (digit_value(text[i]) < base || (text[i] == '.' && !after_point)); i++)
        if (text[i] == '.')
            after_point = 1;
        else {
            scale -= after_point;
            zeros++;
            for (; text[i] != '0' && zeros > 0; zeros--) {
                append_digit(low, high, base, zeros > 1 ? 0 : digit_value(text[i]));
                low = low_word;
                high = high_word;
            }
        }
    scale += zeros;     /* at the end they are powers of the base */
    int exponent = 0, digits = i;
    if (i < length && (text[i] | 32) == (base == 16 ? 'p' : 'e')) {
        int negative = ++i < length && text[i] == '-', value = 0;
        if (i < length && (text[i] == '-' || text[i] == '+'))
            i++;
        if (i == length || !is_digit(text[i]))
            fail("digits of an exponent expected");
        for (; i < length && is_digit(text[i]); i++)
            if (value < 10000)
                value = value * 10 + text[i] - '0';
        exponent = negative ? -value : value;
    }
    if (i < length || (base == 16 && i == digits))
        fail_about("floating constant not understood: ", text, length, "");
    if (base == 16) {
        exponent += scale * 4;
        scale = 0;
    } else {
        scale += exponent;      /* ten is five times two */
        exponent = scale;
    }
    for (; scale > 0 && (low | high); scale--) {
        append_digit(low, high, 5, 0);
        low = low_word;
        high = high_word;
    }
    for (; scale < 0 && (low | high); scale++) {
        divide_unsigned64(low, high, 5, 0);
        low = low_word;
        high = high_word;
        if (rest_low)
            fail_about("a floating constant that is not exact in 64 bits is not implemented: ", text, length, "");
    }
    make_float(low, high, exponent, 0, size);
}

void float_from64(int low, int high, int is_unsigned, int size)
{
    int minus = !is_unsigned && high < 0;
    if (minus)
        negate64(low, high);
    else
        set64(low, high);
    make_float(low_word, high_word, 0, minus ? 32768 : 0, size);
}

/* Rounds the number in the float words to the precision of a type. */
void round_float(int size)
{
    make_float(float_low, float_high, (float_exponent & 32767) - 16383 - 63, float_exponent & 32768, size);
}

/* Turns the float words into the bytes of a type of `size` bytes: low_word and high_word, and float_exponent for 12. */
void pack_float(int size)
{
    set64(float_low, float_high);
    if (size == 12)
        return;
    int bits = size == 4 ? 24 : 53, bias = size == 4 ? 127 : 1023;
    int sign = float_exponent >> 15 << 31;
    int exponent = (float_exponent & 32767) - 16383 + bias;
    if (!float_low && !float_high)
        exponent = 0;
    else if (exponent <= 0 || exponent > 2 * bias)
        fail("floating constant out of range");
    shift_right64(low_word, high_word, 64 - bits, YES);
    if (size == 4)
        set64((low_word & 0x7fffff) | exponent << 23 | sign, 0);
    else
        set64(low_word, (high_word & 0xfffff) | exponent << 20 | sign);
}
