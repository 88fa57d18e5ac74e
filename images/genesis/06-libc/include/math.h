#ifndef _MATH_H
#define _MATH_H
double ldexp(double value, int exponent);
#endif
