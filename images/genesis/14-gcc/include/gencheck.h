#include "cp/cp-tree.def"
