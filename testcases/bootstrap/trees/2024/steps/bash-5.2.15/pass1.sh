: # nothing to compile
