#ifndef _CTYPE_H
#define _CTYPE_H
#define isdigit(c) ((c) >= '0' && (c) <= '9')
#define isspace(c) ((c) == ' ' || ((c) >= '\t' && (c) <= '\r'))
#endif
