/* What tcc's configure would have found out: an i386 compiler without shared libraries, whose files lie in /usr.
   CONFIG_TCCBOOT leaves out bound checks and back traces, which need more of a library than ours has. */
#define TCC_VERSION "0.9.27"
#define TCC_TARGET_I386 1
#define CONFIG_TCC_STATIC 1
#define CONFIG_TCCBOOT 1
#define CONFIG_TCCDIR "/usr/lib/tcc"
#define CONFIG_TCC_CRTPREFIX "/usr/lib"
#define CONFIG_TCC_LIBPATHS "/usr/lib"
#define CONFIG_TCC_SYSINCLUDEPATHS "/usr/include"
