#ifdef IN_GCC
#include "ansidecl.h"
#endif
#define USED_FOR_TARGET
