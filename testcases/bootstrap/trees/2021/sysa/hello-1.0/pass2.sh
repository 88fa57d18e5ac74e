cat hello-1.0.txt >"${PREFIX}/hello" # the second time, too
