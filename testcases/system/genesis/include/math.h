/* What csmith's programs want of it */
static double fabs(double x) { return x < 0 ? -x : x; }
static float fabsf(float x) { return x < 0 ? -x : x; }
