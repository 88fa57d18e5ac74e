#!/usr/bin/bash
echo "Mounting sysc"
