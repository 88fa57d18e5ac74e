: # the second time, too
