// Needs the library of C++: streams, strings, containers, algorithms and exceptions.
#include <algorithm>
#include <iostream>
#include <map>
#include <stdexcept>
#include <sstream>
#include <string>
#include <vector>

static int count(const std::vector<int> &numbers)
{
    std::map<std::string, int> seen;
    for (std::vector<int>::const_iterator number = numbers.begin(); number != numbers.end(); ++number) {
        std::ostringstream word;
        word << *number;
        ++seen[word.str()];
    }
    if (seen.size() != 10)
        throw std::logic_error("wrong");
    throw std::runtime_error("thrown and caught: ");
}

int main()
{
    std::vector<int> numbers;
    for (int i = 0; i < 100; i++)
        numbers.push_back(37 * i % 10);
    std::sort(numbers.begin(), numbers.end());
    try {
        count(numbers);
    } catch (const std::runtime_error &error) {
        std::cout << error.what() << SEED + numbers[10] << std::endl;
        return 0;
    }
    return 1;
}
