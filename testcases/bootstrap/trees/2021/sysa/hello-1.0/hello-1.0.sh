cp hello-1.0.txt "${PREFIX}/hello"
