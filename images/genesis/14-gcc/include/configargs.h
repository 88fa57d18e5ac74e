static const char configuration_arguments[] = "none: images/genesis/14-gcc of bootstrap-harness";
static const char thread_model[] = "single";
static const struct {
  const char *name, *value;
} configure_default_options[] = { { "cpu", "pentiumpro" } };
