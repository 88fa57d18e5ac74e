#define NUM_SCRIPTS 0
