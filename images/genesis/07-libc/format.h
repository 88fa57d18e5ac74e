/* Between printf and floats.c: the most digits behind the point, and the room that a number with them needs */
enum { FORMAT_PRECISION = 500, FORMAT_ROOM = 5500 };

int format_float(char *to, long double value, int style, int precision, int alternate);
