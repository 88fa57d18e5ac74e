#include "cp/lang-specs.h"
