#ifdef IN_GCC
#include "config/i386/i386-protos.h"
#include "tm-preds.h"
#endif
