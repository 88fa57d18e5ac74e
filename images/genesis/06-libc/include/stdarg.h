/* Arguments lie on the stack one behind the other, each in a multiple of four bytes. */
#ifndef _STDARG_H
#define _STDARG_H
typedef char *va_list;
#define _VA_SIZE(type) ((sizeof(type) + 3) & ~3)
#define va_start(list, last) ((list) = (char *)&(last) + _VA_SIZE(last))
#define va_arg(list, type) (*(type *)(((list) += _VA_SIZE(type)) - _VA_SIZE(type)))
#define va_copy(to, from) ((to) = (from))
#define va_end(list) ((void)0)
#endif
