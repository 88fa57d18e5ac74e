#include "auto-host.h"
#ifdef IN_GCC
#include "ansidecl.h"
#endif
