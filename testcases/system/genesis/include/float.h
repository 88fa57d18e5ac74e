/* What csmith's programs want of it, without constants that 64 bits do not hold */
#define FLT_MAX (16777215.0F * 4294967296.0F * 4294967296.0F * 4294967296.0F * 256.0F)
#define DBL_MAX ((double)FLT_MAX)
