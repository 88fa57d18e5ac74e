/* Compares what a program computed with what it should be; the first difference ends it with status 1. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            printf("%s:%d: wrong: %s\n", __FILE__, __LINE__, #condition); \
            exit(1); \
        } \
    } while (0)
